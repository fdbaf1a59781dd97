"""Who calls: from the Authorization header to an organization and what the key permits."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from service.api.server.resources import RESOURCES, Resources
from service.domain.errors import Forbidden, Unauthorized
from service.domain.keys import PERMISSIONS, Caller, Permission, accepts_secret, parse_key
from service.store import keys
from service.store.postgres.database import as_organization

ApiHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


_CALLER: Final = web.RequestKey("caller", Caller)


def caller(request: web.Request) -> Caller:
    """The caller of a request whose route needs a permission."""
    return request[_CALLER]


def permitted(permission: Permission, handler: ApiHandler) -> ApiHandler:
    """The handler, for callers with this permission."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        request[_CALLER] = known = await _authenticate(request)
        await request.app[RESOURCES].rate_limits.take(request, known)
        if permission not in PERMISSIONS[known.role]:
            raise Forbidden(f"this needs the permission {permission}, which a key of role {known.role} does not have")
        return await handler(request)

    return guarded


async def check_still_valid(request: web.Request) -> None:
    """For a request that lasts: raises Unauthorized once its key has ended. Cheap, as keys are remembered a while."""
    await _authenticate(request)


async def _authenticate(request: web.Request) -> Caller:
    scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
    key = rest.lstrip(" ")
    if scheme.lower() != "bearer":
        raise Unauthorized("send an API key: Authorization: Bearer zof_…")
    verified = request.app[RESOURCES].key_cache
    known = verified.get(key)
    if known is None:
        known = await _look_up(request.app[RESOURCES], key)
        verified.add(key, known)
    return known


async def _look_up(resources: Resources, key: str) -> Caller:
    presented = parse_key(key)
    stored = await keys.find(resources.pool, presented.key_id) if presented else None
    if presented is None or stored is None or not accepts_secret(stored, presented.secret, datetime.now(UTC)):
        raise Unauthorized("this API key is not valid")
    async with as_organization(resources.pool, stored.org_id) as connection:
        await keys.touch(connection, stored.org_id, presented.key_id)
    return Caller(stored.org_id, presented.key_id, stored.role, stored.project_id)
