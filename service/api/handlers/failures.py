"""Handlers for failure groups: the ranked list, one group, and its ticket."""

import orjson
from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.http.mutations import mutate
from service.api.http.parsing import parse_body, parse_query
from service.api.http.responses import compact, reply_json, reply_list, reply_with_etag
from service.api.resources import RESOURCES
from service.contracts.failures import FailurePatch, FailureQuery
from service.store.postgres.database import Connection, as_organization
from service.usecases.lists import list_failures as usecase


async def list_failures(request: web.Request) -> web.Response:
    """List the failure groups of a run, or of the newest runs of a project, those with most results first."""
    query, caller = parse_query(request, FailureQuery), get_caller(request)
    groups = await usecase.list_failures(request.app[RESOURCES].list_pool, caller, query)
    return reply_list(orjson.Fragment(compact(groups.data)), None, truncated=groups.truncated)


async def get_failure(request: web.Request) -> web.Response:
    """Return one failure group."""
    caller = get_caller(request)
    async with as_organization(request.app[RESOURCES].pool, caller.org_id) as connection:
        return reply_with_etag(await usecase.find_failure(connection, caller, request.match_info["id"]))


async def update_failure(request: web.Request) -> web.Response:
    """Set or remove the ticket of a failure group."""
    body, caller = await parse_body(request, FailurePatch), get_caller(request)
    failure_id = request.match_info["id"]

    async def change(connection: Connection) -> web.Response:
        await usecase.set_ticket(connection, caller, failure_id, body.ticket_url)
        return reply_json(await usecase.find_failure(connection, caller, failure_id))

    return await mutate(request, change)
