"""Authentication by an API key."""

from collections.abc import Collection
from datetime import UTC, datetime

from service.domain.keys import Caller, ParsedKey, accepts_secret
from service.store import keys
from service.store.postgres.database import Pool, as_organization


async def find_key_callers(pool: Pool, presented: Collection[ParsedKey]) -> dict[ParsedKey, Caller]:
    """Return the callers of those of the keys that are valid: not unknown, wrong, expired, or revoked."""
    stored, now = await keys.find(pool, {key.key_id for key in presented}), datetime.now(UTC)
    found = [(key, stored[key.key_id]) for key in presented if key.key_id in stored]
    return {
        key: Caller(row.org_id, key.key_id, row.role, row.project_id, row.job)
        for key, row in found
        if accepts_secret(row, key.secret, now)
    }


async def record_use(pool: Pool, caller: Caller) -> None:
    """Set the time of last use of the caller's key, at most once per minute."""
    async with as_organization(pool, caller.org_id) as connection:
        await keys.touch(connection, caller.org_id, caller.credential_id)
