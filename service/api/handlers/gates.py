"""Handlers for gates. Gates belong to the organization, so a key that is bound to a project can only read them."""

import re
from typing import Final

from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.http.mutations import mutate
from service.api.http.parsing import parse_body, parse_query
from service.api.http.responses import reply, reply_page
from service.api.resources import RESOURCES
from service.contracts.gates import GateIn
from service.contracts.queries import PageQuery
from service.domain.errors import InvalidRequest
from service.domain.gates import MAX_GATE_NAME
from service.usecases.administration.mutate import Transaction
from service.usecases.gates import manage_gates as usecase
from service.usecases.lists import list_gates as read_list

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)


async def list_gates(request: web.Request) -> web.Response:
    """List gates in the order of their names."""
    query, caller = parse_query(request, PageQuery), get_caller(request)
    return reply_page(await read_list.list_gates(request.app[RESOURCES].pool, caller, query))


async def get_gate(request: web.Request) -> web.Response:
    """Get one gate."""
    pool, caller = request.app[RESOURCES].pool, get_caller(request)
    return reply(await read_list.find_gate(pool, caller, request.match_info["name"]))


async def put_gate(request: web.Request) -> web.Response:
    """Create a gate, or replace its policy."""
    org_id = usecase.organization_of_gates(get_caller(request))
    name, body = _new_name(request), await parse_body(request, GateIn)

    async def put(transaction: Transaction) -> web.Response:
        created = await usecase.put_gate(transaction, org_id, name, body.policy.to_domain())
        headers = {"Location": f"/v1/gates/{name}"} if created else None
        return reply(await usecase.read_gate(transaction, org_id, name), 201 if created else 200, headers)

    return await mutate(request, put)


async def delete_gate(request: web.Request) -> web.Response:
    """Delete a gate. The decisions of the gate remain."""
    org_id, name = usecase.organization_of_gates(get_caller(request)), request.match_info["name"]
    usecase.check_stored_name(name)

    async def delete(transaction: Transaction) -> web.Response:
        await usecase.delete_gate(transaction, org_id, name)
        return web.Response(status=204)

    return await mutate(request, delete)


def _new_name(request: web.Request) -> str:
    name = request.match_info["name"]
    if not _NAME.fullmatch(name) or len(name) > MAX_GATE_NAME:
        raise InvalidRequest(
            f"name: must have 1 to {MAX_GATE_NAME} letters, digits, and . _ -, and start with a letter or digit", "name"
        )
    return name
