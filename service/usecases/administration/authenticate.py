"""Authentication by an API key."""

from datetime import UTC, datetime

from service.domain.keys import Caller, ParsedKey, accepts_secret
from service.store import keys
from service.store.postgres.database import Pool, as_organization


async def find_key_caller(pool: Pool, key: ParsedKey) -> Caller | None:
    """Return the caller of a valid key, or None if the key is unknown, wrong, expired, or revoked."""
    stored = await keys.find(pool, key.key_id)
    if stored is None or not accepts_secret(stored, key.secret, datetime.now(UTC)):
        return None
    return Caller(stored.org_id, key.key_id, stored.role, stored.project_id, stored.job)


async def record_use(pool: Pool, caller: Caller) -> None:
    """Set the time of last use of the caller's key, at most once per minute."""
    async with as_organization(pool, caller.org_id) as connection:
        await keys.touch(connection, caller.org_id, caller.credential_id)
