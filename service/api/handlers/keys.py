"""API keys over HTTP. A caller whose key is bound to a project can manage only keys of that project."""

from typing import Any, Final

from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.http.mutations import mutate
from service.api.http.parsing import parse_body, parse_query
from service.api.http.responses import reply, reply_list
from service.api.server.resources import RESOURCES
from service.contracts.keys import KeyRequest
from service.contracts.queries import PageQuery
from service.domain.cursors import Cursors, ids
from service.domain.errors import Forbidden
from service.domain.ids import is_id
from service.domain.keys import Caller
from service.store import keys as stored_keys
from service.store.postgres.database import Connection, as_organization
from service.usecases.administration import keys

_CURSOR_CODEC: Final = ids("key")


async def list_keys(request: web.Request) -> web.Response:
    """Return a page of keys, including revoked ones, newest first."""
    query, caller = parse_query(request, PageQuery), get_caller(request)
    cursors = Cursors(_CURSOR_CODEC, "keys", caller.org_id, {"project_id": caller.project_id})
    before = cursors.read(query.starting_after)
    async with as_organization(request.app[RESOURCES].pool, caller.org_id) as connection:
        rows = await keys.list_keys(connection, caller.org_id, caller.project_id, before, query.limit + 1)
    page = [dict(row) for row in rows[: query.limit]]
    return reply_list(page, cursors.write(page[-1]["id"] if len(rows) > query.limit else None))


async def create_key(request: web.Request) -> web.Response:
    """Create a key. Only this response contains the key itself."""
    body, caller = await parse_body(request, KeyRequest), get_caller(request)
    project_id = _project(body.project_id, caller)

    async def create(connection: Connection) -> web.Response:
        created = await keys.create_key(connection, caller.org_id, body.name, body.role, project_id, body.expires_at)
        key = await _key_object(connection, caller, created)
        return reply(key, 201, {"Location": f"/v1/api-keys/{created.key_id}"})

    return await mutate(request, create, shown_once="key")


async def rotate_key(request: web.Request) -> web.Response:
    """Replace the secret of a key. The previous secret remains valid for 24 hours."""
    caller, key_id = get_caller(request), _key_id(request)

    async def rotate(connection: Connection) -> web.Response:
        created = await keys.rotate_key(connection, caller.org_id, key_id, caller.project_id)
        return reply(await _key_object(connection, caller, created))

    return await mutate(request, rotate, shown_once="key")


async def delete_key(request: web.Request) -> web.Response:
    """Revoke a key. Every process rejects it within five seconds."""
    caller, key_id = get_caller(request), _key_id(request)

    async def revoke(connection: Connection) -> web.Response:
        await keys.revoke_key(connection, caller.org_id, key_id, caller.project_id)
        return web.Response(status=204)

    return await mutate(request, revoke)


def _key_id(request: web.Request) -> str:
    """Return the key ID of the path. Raises NotFound if it is malformed."""
    key_id = request.match_info["id"]
    if not is_id("key", key_id):
        raise keys.key_not_found(key_id)
    return key_id


async def _key_object(connection: Connection, caller: Caller, created: keys.NewKey) -> dict[str, Any]:
    return {**await stored_keys.find_one(connection, caller.org_id, created.key_id), "key": created.key}


def _project(requested: str | None, caller: Caller) -> str | None:
    """Return the project of a new key: that of the caller's key if it is bound to one. Raises Forbidden."""
    if caller.project_id is not None and requested not in (None, caller.project_id):
        raise Forbidden(
            f"project_id: this key is bound to the project {caller.project_id!r} and can create only keys of it"
        )
    return requested or caller.project_id
