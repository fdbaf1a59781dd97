"""Handlers for runs: the list, one run, its completion, its deletion, and its pin."""

import orjson
from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.http.long_polling import requested_wait_s, wait_until_finished
from service.api.http.mutations import mutate
from service.api.http.parsing import parse_query
from service.api.http.responses import reply_json, reply_page, reply_with_etag
from service.api.server.resources import RESOURCES
from service.contracts.queries import RunQuery
from service.domain.errors import NotFound
from service.domain.texts import is_storable, replace_unstorable
from service.store.postgres.database import Connection, as_organization
from service.store.queries import runs as read_runs
from service.store.queries.runs import RunSelector
from service.usecases.ingest import complete_run as completion
from service.usecases.lists.list_runs import list_runs as read_list
from service.usecases.retention import delete_run as usecase
from service.usecases.retention import pin_run as pinning


async def list_runs(request: web.Request) -> web.Response:
    """List runs, newest first."""
    query = parse_query(request, RunQuery)
    return reply_page(*await read_list(request.app[RESOURCES].list_pool, get_caller(request), query))


async def get_run(request: web.Request) -> web.Response:
    """Get one run. With `wait`, respond when the run is complete or the time is over."""
    selector = run_selector(request)
    text = await wait_for_run(request, selector, requested_wait_s(request))
    if text is None:
        raise run_not_found(selector.run_id)
    return reply_with_etag(text)


async def delete_run(request: web.Request) -> web.Response:
    """Delete a run with its results, artifacts, and files."""
    caller, selector = get_caller(request), run_selector(request)

    async def delete(connection: Connection) -> web.Response:
        await usecase.delete_run(connection, caller.org_id, selector.run_id, selector.project_id)
        return web.Response(status=204)

    return await mutate(request, delete)


async def complete_run(request: web.Request) -> web.Response:
    """Complete a run that was sent with `final: false`, and respond with the run."""
    caller, selector = get_caller(request), run_selector(request)
    link_base = request.app[RESOURCES].settings.link_base

    async def complete(connection: Connection) -> web.Response:
        await completion.complete_run(connection, caller.org_id, *selector, link_base)
        run = await read_runs.find_one(connection, caller.org_id, *selector)
        if run is None:
            raise run_not_found(selector.run_id)
        return reply_json(run)

    return await mutate(request, complete)


async def pin_run(request: web.Request) -> web.Response:
    """Pin a run, so that the retention doesn't delete it."""
    return await _set_pinned(request, pinned=True)


async def unpin_run(request: web.Request) -> web.Response:
    """Unpin a run. The retention applies again."""
    return await _set_pinned(request, pinned=False)


async def _set_pinned(request: web.Request, *, pinned: bool) -> web.Response:
    caller, selector = get_caller(request), run_selector(request)

    async def change(connection: Connection) -> web.Response:
        await pinning.set_pinned(connection, caller.org_id, selector.run_id, selector.project_id, pinned=pinned)
        return web.Response(status=204)

    return await mutate(request, change)


def run_selector(request: web.Request) -> RunSelector:
    """Return the selector of the run in the path. Raises NotFound if PostgreSQL can't store its ID."""
    run_id = request.match_info["run_id"]
    if not is_storable(run_id):
        raise run_not_found(run_id)
    return RunSelector(run_id, get_caller(request).project_id)


def run_not_found(run_id: str) -> NotFound:
    """Return the same error for a run that is unknown or of another organization."""
    return NotFound(f"run {replace_unstorable(run_id[:100])!r} not found")


async def wait_for_run(request: web.Request, selector: RunSelector, wait_s: int) -> str | None:
    """Return the run as JSON when it is complete or the time to wait is over. None if it doesn't exist."""
    text = await _find(request, selector)
    if wait_s and not (text and orjson.loads(text)["complete"]):
        await wait_until_finished(request, request.app[RESOURCES].run_watch, selector, wait_s)
        text = await _find(request, selector)
    return text


async def _find(request: web.Request, selector: RunSelector) -> str | None:
    org_id = get_caller(request).org_id
    async with as_organization(request.app[RESOURCES].pool, org_id) as connection:
        return await read_runs.find_one(connection, org_id, *selector)
