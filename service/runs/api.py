"""Handlers for runs: the list, one run, its completion, promotion, deletion, and pin."""

from typing import Final

from aiohttp import web

from service.contracts.queries import RunQuery, WaitQuery
from service.http.authentication import get_caller
from service.http.mutations import mutate
from service.http.parsing import parse_body, parse_query
from service.http.process import RESOURCES
from service.http.responses import add_etag, reply, reply_page
from service.http.routes import Operation, Route, page_of, with_etag
from service.http.waiting import requested_wait_s, wait_until_finished
from service.ingest import promote_run as ingest_promote_run
from service.ingest.promote_run import Promotion
from service.mutations.operations import Transaction
from service.retention import deletion
from service.runs import operations
from service.runs.contract import PromotionRequest, Run, RunDetail, write_run, write_run_detail
from service.runs.model import RunDetailRow
from service.runs.operations import find_run, read_run, run_not_found, select_run


async def list_runs(request: web.Request) -> web.Response:
    """List runs, newest first."""
    query = parse_query(request, RunQuery)
    return reply_page(
        await operations.list_runs(request.app[RESOURCES].list_pool, get_caller(request), query), write_run
    )


async def get_run(request: web.Request) -> web.Response:
    """Get one run. With `wait`, respond when the run is complete or the time is over."""
    found = await wait_for_run(request, requested_wait_s(request))
    if found is None:
        raise run_not_found(request.match_info["run_id"])
    return add_etag(reply(write_run_detail(found)))


async def wait_for_run(request: web.Request, wait_s: int) -> RunDetailRow | None:
    """Return the run when it is complete or the time to wait is over. None if it doesn't exist."""
    caller, run_id, resources = get_caller(request), request.match_info["run_id"], request.app[RESOURCES]
    found = await find_run(resources.pool, caller, run_id)
    if wait_s and not (found and found.run.complete):
        await wait_until_finished(request, resources.run_watch, select_run(caller, run_id), wait_s)
        found = await find_run(resources.pool, caller, run_id)
    return found


async def delete_run(request: web.Request) -> web.Response:
    """Delete a run with its results, artifacts, and files."""
    caller = get_caller(request)
    selector = select_run(caller, request.match_info["run_id"])

    async def delete(transaction: Transaction) -> web.Response:
        await deletion.delete_run(transaction, caller.org_id, selector.run_id, selector.project_id)
        return web.Response(status=204)

    return await mutate(request, delete)


async def complete_run(request: web.Request) -> web.Response:
    """Complete a run that was sent with `final: false`, and respond with the run."""
    caller, link_base = get_caller(request), request.app[RESOURCES].settings.link_base
    run_id = select_run(caller, request.match_info["run_id"]).run_id

    async def complete(transaction: Transaction) -> web.Response:
        await operations.complete_run(transaction, caller, run_id, link_base)
        return reply(write_run_detail(await read_run(transaction, caller, run_id)))

    return await mutate(request, complete)


async def promote_run(request: web.Request) -> web.Response:
    """Promote an untrusted run, and respond with the run. Workers store its reports later.

    Responds with 200, without an audit entry, if the run has been promoted before.
    """
    caller, resources = get_caller(request), request.app[RESOURCES]
    body = await parse_body(request, PromotionRequest)
    run_id, project_id = select_run(caller, request.match_info["run_id"])
    stated = Promotion(**body.model_dump())
    link_base = resources.settings.link_base

    async def promote(transaction: Transaction) -> web.Response:
        changed = await ingest_promote_run.promote_run(
            transaction, caller.org_id, run_id, project_id, stated, link_base
        )
        return reply(write_run_detail(await read_run(transaction, caller, run_id)), 202 if changed else 200)

    return await mutate(request, promote, unchanged=200)


async def pin_run(request: web.Request) -> web.Response:
    """Pin a run, so that the retention doesn't delete it."""
    return await _set_pinned(request, pinned=True)


async def unpin_run(request: web.Request) -> web.Response:
    """Unpin a run. The retention applies again."""
    return await _set_pinned(request, pinned=False)


async def _set_pinned(request: web.Request, *, pinned: bool) -> web.Response:
    caller = get_caller(request)
    selector = select_run(caller, request.match_info["run_id"])

    async def change(transaction: Transaction) -> web.Response:
        await deletion.set_pinned(transaction, caller.org_id, selector.run_id, selector.project_id, pinned=pinned)
        return web.Response(status=204)

    return await mutate(request, change)


ROUTES: Final = (
    Route("GET", "/runs", list_runs, "results:read", Operation(
        "list_runs", "List runs, latest completed first", page_of(Run), RunQuery,
    )),
    Route("GET", "/runs/{run_id}", get_run, "results:read", Operation(
        "get_run", "Get a run", with_etag(RunDetail), WaitQuery, errors=("not_found",),
        description="With `wait`, responds as soon as the run is complete, or after that time with its current state.",
    )),
    Route("DELETE", "/runs/{run_id}", delete_run, "runs:delete", Operation(
        "delete_run", "Delete a run with its results, artifacts, and files", {204: None}, errors=("not_found",),
    )),
    Route("POST", "/runs/{run_id}/complete", complete_run, "reports:create", Operation(
        "complete_run", "Complete a run that was sent with final=false", {200: RunDetail},
        errors=("not_found", "conflict"),
        description="A complete run stays unchanged. If expected shards or results are missing, responds with 409.",
    )),
    Route("POST", "/runs/{run_id}/promote", promote_run, "runs:promote", Operation(
        "promote_run", "Promote an untrusted run",
        {200: RunDetail, 202: RunDetail}, body=PromotionRequest,
        errors=("not_found", "conflict"),
        description="Replaces the run by a trusted one with the same ID and only the named reports, and responds with"
        " 202. The service stores these reports again: the run isn't complete, and has the status `error`, before that."
        " No other upload can change the run. Responds with 200 if the run has been promoted with these receipts"
        " before, and with 409 if a report states another commit, is unknown, or was rejected.",
    )),
)  # fmt: skip
PIN_ROUTES: Final = (
    Route("PUT", "/runs/{run_id}/pin", pin_run, "runs:delete", Operation(
        "pin_run", "Exclude a run from retention", {204: None}, errors=("not_found", "conflict"),
        description="The run, its results, and its artifacts stay until the run is unpinned or deleted explicitly.",
    )),
    Route("DELETE", "/runs/{run_id}/pin", unpin_run, "runs:delete", Operation(
        "unpin_run", "Include a run in retention again", {204: None}, errors=("not_found",),
    )),
)  # fmt: skip
