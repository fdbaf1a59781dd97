"""The session of a request: its cookie, the cached lookup of its key, and the limits of sign-ins."""

from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Final, NamedTuple

from aiohttp import web
from cachetools import TTLCache

from service.domain.errors import Unauthorized
from service.http.key_lookups import KeyLookups
from service.http.limits import AddressLimit, UnknownKeyLimit
from service.http.process import RESOURCES, Resources
from service.identity.members import operations as members_operations
from service.identity.members import sign_ins
from service.identity.members.model import SESSION_LIFETIME, Session, is_session_id

TTL_S: Final = 3.0  # with the interval in which streams check their session, an ended session is noticed within 5 s
_MAX_SESSIONS: Final = 10_000
_SIGN_INS: Final = 30  # of one address
_SIGN_INS_PER_S: Final = 0.5


class Cookie(NamedTuple):
    """The name and the attributes of a cookie. A script can't read it, and no form of another site sends it."""

    name: str
    path: str
    is_secure: bool
    lifetime: timedelta

    def read(self, request: web.Request) -> str:
        """Return the value, which is empty if the cookie is missing."""
        return request.cookies.get(self.name, "")

    def write(self, response: web.StreamResponse, value: str) -> None:
        """Let the browser store the value for the lifetime."""
        response.set_cookie(
            self.name,
            value,
            max_age=int(self.lifetime.total_seconds()),
            path=self.path,
            secure=self.is_secure,
            httponly=True,
            samesite="Lax",  # a navigation from another site, such as the provider of a sign-in, sends it
        )

    def delete(self, response: web.StreamResponse) -> None:
        """Let the browser delete the cookie."""
        response.del_cookie(self.name, path=self.path, secure=self.is_secure, httponly=True, samesite="Lax")


@dataclass(frozen=True)
class Sessions:
    """The cookies of sessions and of sign-ins, the cache of valid sessions, and the limits of one process."""

    cookie: Cookie
    sign_in_cookie: Cookie
    # At most 10,000 sessions, about 10 MB. An entry ends after 3 s, so that an ended session is noticed.
    cache: TTLCache[str, Session] = field(default_factory=lambda: TTLCache(_MAX_SESSIONS, TTL_S))
    lookups: KeyLookups[Session] = field(default_factory=KeyLookups)
    unknown: UnknownKeyLimit = field(default_factory=lambda: UnknownKeyLimit("session: too many unknown sessions"))
    sign_ins: AddressLimit = field(
        default_factory=lambda: AddressLimit("sign-in: too many attempts", _SIGN_INS, _SIGN_INS_PER_S)
    )

    def read_id(self, request: web.Request) -> str | None:
        """Return the session ID of the request. None if the cookie is missing or has another format."""
        session_id = self.cookie.read(request)
        return session_id if is_session_id(session_id) else None


SESSIONS: Final = web.AppKey("sessions", Sessions)


def make_sessions(*, is_https: bool) -> Sessions:
    """Return the sessions of a process. With HTTPS, cookies have a prefix.

    The prefix ensures that no other host and no insecure page has set a cookie.
    """

    def cookie(name: str, path: str, lifetime: timedelta) -> Cookie:
        return Cookie(f"__Host-{name}", "/", True, lifetime) if is_https else Cookie(name, path, False, lifetime)

    return Sessions(
        cookie("zof_results_session", "/console", SESSION_LIFETIME),
        cookie("zof_results_sign_in", "/console/sign-in", sign_ins.SIGN_IN_LIFETIME),
    )


async def find_session(request: web.Request) -> Session:
    """Return the session of the request, usually from the cache.

    Raises Unauthorized if there is no session, or if it has ended, and RateLimitExceeded.
    """
    sessions, resources = request.app[SESSIONS], request.app[RESOURCES]
    session_id = sessions.read_id(request)
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
