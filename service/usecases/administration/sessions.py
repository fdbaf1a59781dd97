"""Sign in to the console and sign out, each in one transaction with its audit entry."""

from typing import Final

from service.domain.errors import Unauthorized
from service.domain.keys import Caller, secret_digest
from service.domain.sessions import LIFETIME, new_session_id, session_digest
from service.store import audit, sessions
from service.store.postgres.database import Connection

SIGN_IN: Final = "console sign in"
SIGN_OUT: Final = "console sign out"


async def sign_in(connection: Connection, caller: Caller, secret: str, request_id: str) -> str:
    """Create a session of an authenticated key, and return the session ID, which isn't stored.

    Raises Unauthorized if the secret isn't the current one: the previous secret of a rotated key is valid for requests,
    but a session ends with its secret.
    """
    session_id = new_session_id()
    digests = secret_digest(secret), session_digest(session_id)
    async with connection.transaction():
        if not await sessions.insert(connection, caller.org_id, caller.key_id, *digests, LIFETIME):
            raise Unauthorized("key: was rotated; use the new key")
        await audit.insert(connection, caller.org_id, caller.key_id, SIGN_IN, None, request_id)
    return session_id


async def sign_out(connection: Connection, caller: Caller, session_id: str, request_id: str) -> None:
    """End a session. Nothing changes if it has already ended."""
    async with connection.transaction():
        if await sessions.delete(connection, caller.org_id, session_digest(session_id)):
            await audit.insert(connection, caller.org_id, caller.key_id, SIGN_OUT, None, request_id)
