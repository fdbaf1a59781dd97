"""API keys over HTTP. A caller whose own key is bound to a project sees and makes keys of that project alone."""

from typing import Any, Final

from aiohttp import web

from service.api.http.authentication import caller
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

_PLACES: Final = ids("key")


async def list_keys(request: web.Request) -> web.Response:
    """Every key, revoked ones too, newest first."""
    query, who = parse_query(request, PageQuery), caller(request)
    cursors = Cursors(_PLACES, "keys", who.org_id, {"project_id": who.project_id})
    before = cursors.read(query.starting_after)
    async with as_organization(request.app[RESOURCES].pool, who.org_id) as connection:
        rows = await keys.list_keys(connection, who.org_id, who.project_id, before, query.limit + 1)
    page = [dict(row) for row in rows[: query.limit]]
    return reply_list(page, cursors.write(page[-1]["id"] if len(rows) > query.limit else None))


async def create_key(request: web.Request) -> web.Response:
    """Makes a key and shows it, once."""
    wanted, who = await parse_body(request, KeyRequest), caller(request)
    project_id = _project(wanted.project_id, who)

    async def create(connection: Connection) -> web.Response:
        made = await keys.create_key(connection, who.org_id, wanted.name, wanted.role, project_id, wanted.expires_at)
        shown = await _shown(connection, who, made)
        return reply(shown, 201, {"Location": f"/v1/api-keys/{made.key_id}"})

    return await mutate(request, create, shown_once="key")


async def rotate_key(request: web.Request) -> web.Response:
    """Gives a key another secret and shows it, once; the one before works for 24 hours more."""
    who, key_id = caller(request), _key_id(request)

    async def rotate(connection: Connection) -> web.Response:
        return reply(
            await _shown(connection, who, await keys.rotate_key(connection, who.org_id, key_id, who.project_id))
        )

    return await mutate(request, rotate, shown_once="key")


async def delete_key(request: web.Request) -> web.Response:
    """Ends a key; it is refused everywhere within five seconds."""
    who, key_id = caller(request), _key_id(request)

    async def revoke(connection: Connection) -> web.Response:
        await keys.revoke_key(connection, who.org_id, key_id, who.project_id)
        return web.Response(status=204)

    return await mutate(request, revoke)


def _key_id(request: web.Request) -> str:
    """The key in the path. Raises NotFound for what can't be an id."""
    key_id = request.match_info["id"]
    if not is_id("key", key_id):
        raise keys.no_key(key_id)
    return key_id


async def _shown(connection: Connection, who: Caller, made: keys.NewKey) -> dict[str, Any]:
    return {**await stored_keys.find_one(connection, who.org_id, made.key_id), "key": made.key}


def _project(wanted: str | None, who: Caller) -> str | None:
    if who.project_id is not None and wanted not in (None, who.project_id):
        raise Forbidden(f"your key is bound to the project {who.project_id!r} and makes keys of that one alone")
    return wanted or who.project_id
