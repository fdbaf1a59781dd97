"""Handlers for failure groups: the ranked list, one group, and its ticket."""

from typing import Final

from aiohttp import web

from service.failures import operations
from service.failures.contract import (
    FailureGroupDetail,
    FailurePatch,
    FailureQuery,
    RankedFailureGroups,
    write_failure_group,
    write_failure_group_detail,
)
from service.http.authentication import get_caller
from service.http.mutations import mutate
from service.http.parsing import parse_body, parse_query
from service.http.process import RESOURCES
from service.http.responses import add_etag, reply, reply_list
from service.http.routes import Operation, Route, with_etag
from service.mutations.operations import Transaction


async def list_failures(request: web.Request) -> web.Response:
    """List the failure groups of a run, or of the newest runs of a project, those with most results first."""
    query, caller = parse_query(request, FailureQuery), get_caller(request)
    ranked = await operations.list_failures(request.app[RESOURCES].list_pool, caller, query)
    return reply_list(list(map(write_failure_group, ranked.groups)), None, truncated=ranked.truncated)


async def get_failure(request: web.Request) -> web.Response:
    """Return one failure group."""
    found = await operations.find_failure(request.app[RESOURCES].pool, get_caller(request), request.match_info["id"])
    return add_etag(reply(write_failure_group_detail(found)))


async def update_failure(request: web.Request) -> web.Response:
    """Set or remove the ticket of a failure group."""
    body, caller = await parse_body(request, FailurePatch), get_caller(request)
    failure_id = request.match_info["id"]

    async def change(transaction: Transaction) -> web.Response:
        await operations.set_ticket(transaction, caller, failure_id, body.ticket_url)
        return reply(write_failure_group_detail(await operations.read_failure(transaction, caller, failure_id)))

    return await mutate(request, change)


ROUTES: Final = (
    Route("GET", "/failures", list_failures, "results:read", Operation(
        "list_failures", "Rank the failure groups of a project or run", {200: RankedFailureGroups}, FailureQuery,
        description="A failure group contains the failures of a project that differ only in values such as numbers and"
        " IDs. The list has one page.",
    )),
    Route("GET", "/failures/{id}", get_failure, "results:read", Operation(
        "get_failure", "Get a failure group", with_etag(FailureGroupDetail), errors=("not_found",),
    )),
    Route("PATCH", "/failures/{id}", update_failure, "quarantines:manage", Operation(
        "update_failure", "Set or remove the ticket of a failure group", {200: FailureGroupDetail}, body=FailurePatch,
        errors=("not_found",), description="The ticket also applies to later failures of the group.",
    )),
)  # fmt: skip
