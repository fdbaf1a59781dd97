"""Authentication and authorization: from the Authorization header to the caller and its permissions."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Final

from aiohttp import web

from service.domain.errors import Forbidden, Unauthorized
from service.http.key_lookups import cached_caller
from service.http.process import RESOURCES, Resources
from service.identity.keys.model import Caller, ParsedKey, Permission, parse_key, permissions_of
from service.identity.keys.operations import find_key_callers, record_use

ApiHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_CALLER: Final = web.RequestKey("caller", Caller)


def get_caller(request: web.Request) -> Caller:
    """Return the caller of a request whose route requires a permission."""
    return request[_CALLER]


def find_caller(request: web.Request) -> Caller | None:
    """Return the caller of a request, or None if it isn't authenticated."""
    return request.get(_CALLER)


def require_permission(permissions: Sequence[Permission], handler: ApiHandler) -> ApiHandler:
    """Wrap the handler so that it authenticates the caller, counts the request, and checks one of the permissions."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        await admit_caller(request, await _authenticate(request), *permissions)
        return await handler(request)

    return guarded


async def admit_caller(request: web.Request, caller: Caller, *permissions: Permission) -> None:
    """Store the authenticated caller in the request, count the request, and check one of the permissions, if any.

    Raises RateLimitExceeded and Forbidden.
    """
    request[_CALLER] = caller
    await request.app[RESOURCES].rate_limits.count(request, caller)
    if permissions:
        check_permission(caller, *permissions)


def check_permission(caller: Caller, *permissions: Permission) -> None:
    """Raise Forbidden, with the first one, if the caller has none of the permissions."""
    if permissions_of(caller.role).isdisjoint(permissions):
        raise Forbidden(
            f"permission {permissions[0]} is required; the role {caller.role} of this {caller.noun} doesn't include it"
        )


async def check_still_valid(request: web.Request) -> None:
    """Raise Unauthorized if the key of a long-lasting request is no longer valid. Usually served from the cache."""
    await _authenticate(request)


async def _authenticate(request: web.Request) -> Caller:
    scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
    key = rest.lstrip(" ")
    if scheme.lower() != "bearer":
        raise Unauthorized("Authorization: an API key is required; send 'Authorization: Bearer zof_…'")
    return await authenticate_key(request, key)


async def authenticate_key(request: web.Request, key: str) -> Caller:
    """Return the caller of a valid key, usually from the cache. Raises Unauthorized, and RateLimitExceeded."""
    resources = request.app[RESOURCES]
    cached = resources.key_cache.get(key)
    if cached is not None and cached.is_current:
        return cached.caller
    parsed = parse_key(key)
    if parsed is None:
        raise _invalid_key()
    lookup = partial(_find_caller, resources, key, parsed)
    if cached is not None:
        resources.key_lookups.start(key, lookup)
        return cached.caller
    async with resources.unknown_keys.lookup(request.remote, key, partial(_find_valid, resources)):
        found = resources.key_cache.get(key)
        return found.caller if found is not None else await resources.key_lookups.find(key, lookup)


async def _find_caller(resources: Resources, key: str, parsed: ParsedKey) -> Caller:
    """Return the caller of a valid key and add it to the cache. Raises Unauthorized."""
    caller = (await find_key_callers(resources.pool, [parsed])).get(parsed)
    if caller is None:
        resources.key_cache.pop(key, None)
        raise _invalid_key()
    resources.key_cache[key] = cached_caller(caller)  # before the wait for a connection, so that the entry isn't older
    await record_use(resources.pool, caller)
    return caller


async def _find_valid(resources: Resources, keys: Collection[str]) -> Collection[str]:
    """Return the valid keys, from one query. All given keys have the format of a key."""
    by_parsed = {parsed: key for key in keys if (parsed := parse_key(key))}
    return {by_parsed[parsed] for parsed in await find_key_callers(resources.pool, by_parsed)}


def _invalid_key() -> Unauthorized:
    return Unauthorized("Authorization: the API key is invalid, expired, or revoked")
