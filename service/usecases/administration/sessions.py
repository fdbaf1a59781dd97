"""Create, find, and end sessions of the console. The caller owns the transactions that change something."""

from service.domain.errors import Unauthorized
from service.domain.keys import Caller, secret_digest
from service.domain.sessions import LIFETIME, Session, session_digest
from service.store import keys, members, organizations, sessions
from service.store.postgres.database import Connection, Pool, as_organization


async def sign_in(connection: Connection, caller: Caller, secret: str, session_id: str) -> None:
    """Create a session of an authenticated key, and store only the digest of its ID.

    Raises Unauthorized if the secret isn't the current one: the previous secret of a rotated key is valid for requests,
    but a session ends with its secret. The cache of keys can also contain a key that was revoked a few seconds ago.
    """
    if caller.job is not None or caller.is_public:
        raise Unauthorized("key: this key is one of a CI job; use your own key")
    digests = secret_digest(secret), session_digest(session_id)
    if not await sessions.insert(connection, caller.org_id, caller.credential_id, *digests, LIFETIME):
        raise Unauthorized("key: the API key was rotated or revoked, or has expired; use a current key")


async def find_session(pool: Pool, session_id: str) -> Session | None:
    """Return a session, and record the use of its key or membership. None if it has ended or doesn't exist."""
    digest = session_digest(session_id)
    stored = await sessions.find(pool, digest)
    if stored is None:
        return None
    caller, member_id = stored
    has_choices = False
    async with as_organization(pool, caller.org_id) as connection:
        slugs = await organizations.find_slugs(connection, [caller.org_id])
        if member_id is None:
            await keys.touch(connection, caller.org_id, caller.credential_id)
            name = await keys.find_name(connection, caller.org_id, caller.credential_id)
        else:
            await members.touch(connection, caller.org_id, member_id, caller.credential_id)
            name = await members.find_person_name(connection, caller.org_id, caller.credential_id)
            name = name or caller.credential_id
            has_choices = await sessions.has_choices(connection, caller.org_id, digest)
    slug = slugs.get(caller.org_id)
    if slug is None or name is None:  # the organization was deleted concurrently
        return None
    return Session(caller, slug, name, member_id, has_choices)


async def sign_out(connection: Connection, caller: Caller, session_id: str) -> None:
    """End a session. Nothing changes if it has already ended."""
    await sessions.delete(connection, caller.org_id, session_digest(session_id))


async def end_session(pool: Pool, caller: Caller, session_id: str) -> None:
    """End the session of a browser that has signed in again, which doesn't know its ID anymore."""
    async with as_organization(pool, caller.org_id) as connection:
        await sessions.delete(connection, caller.org_id, session_digest(session_id))
