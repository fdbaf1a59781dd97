"""Handlers for gates. Gates belong to the organization, so a key that is bound to a project can only read them."""

import re
from typing import Final

from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.http.mutations import mutate
from service.api.http.parsing import parse_body, parse_query
from service.api.http.responses import reply_json, reply_page
from service.api.server.resources import RESOURCES
from service.contracts.gates import GateIn
from service.contracts.queries import PageQuery
from service.domain.cursors import TEXT, Cursors
from service.domain.errors import Forbidden, InvalidRequest
from service.domain.gates import MAX_GATE_NAME
from service.domain.ids import OrgId
from service.domain.texts import is_storable
from service.store import gates
from service.store.postgres.database import Connection, as_organization
from service.usecases.gates import manage_gates as usecase
from service.usecases.lists.pages import ListPage

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)


async def list_gates(request: web.Request) -> web.Response:
    """List gates in the order of their names."""
    query, caller = parse_query(request, PageQuery), get_caller(request)
    cursors = Cursors(TEXT, "gates", caller.org_id, {})
    after = cursors.read(query.starting_after)
    async with as_organization(request.app[RESOURCES].pool, caller.org_id) as connection:
        page = await gates.list_page(connection, caller.org_id, after, query.limit)
    return reply_page(ListPage(page.rows, cursors.write(page.next)))


async def get_gate(request: web.Request) -> web.Response:
    """Get one gate."""
    name, caller = request.match_info["name"], get_caller(request)
    async with as_organization(request.app[RESOURCES].pool, caller.org_id) as connection:
        return reply_json(await _find(connection, caller.org_id, name))


async def put_gate(request: web.Request) -> web.Response:
    """Create a gate, or replace its policy."""
    org_id, name, body = _organization(request), _new_name(request), await parse_body(request, GateIn)

    async def put(connection: Connection) -> web.Response:
        created = await usecase.put_gate(connection, org_id, name, body.policy.to_domain())
        headers = {"Location": f"/v1/gates/{name}"} if created else None
        return reply_json(await _find(connection, org_id, name), 201 if created else 200, headers)

    return await mutate(request, put)


async def delete_gate(request: web.Request) -> web.Response:
    """Delete a gate. The decisions of the gate remain."""
    org_id, name = _organization(request), request.match_info["name"]
    if not is_storable(name):
        raise usecase.gate_not_found(name)

    async def delete(connection: Connection) -> web.Response:
        await usecase.delete_gate(connection, org_id, name)
        return web.Response(status=204)

    return await mutate(request, delete)


def _organization(request: web.Request) -> OrgId:
    """Return the organization of a key that can change gates. Raises Forbidden if the key is bound to a project."""
    caller = get_caller(request)
    if caller.project_id is not None:
        raise Forbidden(
            f"this key is bound to the project {caller.project_id!r}, and gates belong to the organization; use a key"
            " without a project"
        )
    return caller.org_id


def _new_name(request: web.Request) -> str:
    name = request.match_info["name"]
    if not _NAME.fullmatch(name) or len(name) > MAX_GATE_NAME:
        raise InvalidRequest(
            f"name: must have 1 to {MAX_GATE_NAME} letters, digits, and . _ -, and start with a letter or digit", "name"
        )
    return name


async def _find(connection: Connection, org_id: OrgId, name: str) -> str:
    found = await gates.find_one(connection, org_id, name) if is_storable(name) else None
    if found is None:
        raise usecase.gate_not_found(name)
    return found
