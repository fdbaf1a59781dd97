"""The session of a request: its cookie, and the cached lookup of its key."""

from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from aiohttp import web
from cachetools import TTLCache

from service.domain.errors import Unauthorized
from service.http.address_limits import AddressLimit
from service.http.key_lookups import KeyLookups, UnknownKeyLimit
from service.http.process import RESOURCES, Resources
from service.identity.members import operations as members_operations
from service.identity.members.model import LIFETIME, Session, is_session_id

TTL_S: Final = 3.0  # with the interval in which streams check their session, an ended session is noticed within 5 s
_MAX_SESSIONS: Final = 10_000
_SIGN_INS: Final = 30  # of one address
_SIGN_INS_PER_S: Final = 0.5
_NAME: Final = "zof_results_session"


class SessionCookie(NamedTuple):
    """The name and the attributes of the cookie. A script can't read it, and no form of another site sends it."""

    name: str
    path: str
    is_secure: bool

    def read(self, request: web.Request) -> str | None:
        """Return the session ID of the request. None if the cookie is missing or has another format."""
        session_id = request.cookies.get(self.name, "")
        return session_id if is_session_id(session_id) else None

    def write(self, response: web.StreamResponse, session_id: str) -> None:
        """Let the browser store the session ID as long as the session can last."""
        response.set_cookie(
            self.name,
            session_id,
            max_age=int(LIFETIME.total_seconds()),
            path=self.path,
            secure=self.is_secure,
            httponly=True,
            samesite="Lax",
        )

    def delete(self, response: web.StreamResponse) -> None:
        """Let the browser delete the cookie."""
        response.del_cookie(self.name, path=self.path, secure=self.is_secure, httponly=True, samesite="Lax")


@dataclass(frozen=True)
class Sessions:
    """The cookie, the cache of valid sessions, and the limits of one process."""

    cookie: SessionCookie
    # At most 10,000 sessions, about 10 MB. An entry ends after 3 s, so that an ended session is noticed.
    cache: TTLCache[str, Session] = field(default_factory=lambda: TTLCache(_MAX_SESSIONS, TTL_S))
    lookups: KeyLookups[Session] = field(default_factory=KeyLookups)
    unknown: UnknownKeyLimit = field(default_factory=lambda: UnknownKeyLimit("session: too many unknown sessions"))
    sign_ins: AddressLimit = field(
        default_factory=lambda: AddressLimit("sign-in: too many attempts", _SIGN_INS, _SIGN_INS_PER_S)
    )


SESSIONS: Final = web.AppKey("sessions", Sessions)


def session_cookie(*, is_https: bool) -> SessionCookie:
    """Return the cookie. With HTTPS, its prefix ensures that no other host and no insecure page has set it."""
    return SessionCookie(f"__Host-{_NAME}", "/", True) if is_https else SessionCookie(_NAME, "/console", False)


async def find_session(request: web.Request) -> Session:
    """Return the session of the request, usually from the cache.

    Raises Unauthorized if there is no session, or if it has ended, and RateLimitExceeded.
    """
    sessions, resources = request.app[SESSIONS], request.app[RESOURCES]
    session_id = sessions.cookie.read(request)
    if session_id is None:
        raise Unauthorized("session: sign in first")
    cached = sessions.cache.get(session_id)
    if cached is not None:
        return cached
    async with sessions.unknown.lookup(request.remote, session_id):
        return await sessions.lookups.find(session_id, partial(_find, resources, sessions, session_id))


async def _find(resources: Resources, sessions: Sessions, session_id: str) -> Session:
    """Return a valid session and add it to the cache. Raises Unauthorized."""
    session = await members_operations.find_session(resources.pool, session_id)
    if session is None:
        raise Unauthorized("session: has ended; sign in again")
    sessions.cache[session_id] = session
    return session
