"""Runs over HTTP: the list, one of them."""

from uuid import UUID

from aiohttp import web

from service.api.callers import caller
from service.api.parsing import parse_empty_query, parse_query
from service.api.replies import reply_page, reply_text
from service.api.resources import RESOURCES
from service.contracts.queries import RunQuery
from service.domain.cursors import read_cursor, write_cursor
from service.domain.errors import InvalidRequest, NotFound
from service.domain.filters import RunFilter, within_project
from service.domain.ids import OrgId, RunKey
from service.store import read_runs
from service.store.database import as_organization


async def list_runs(request: web.Request) -> web.Response:
    """Runs, the latest completed first."""
    query = parse_query(request, RunQuery)
    who = caller(request)
    wanted = within_project(query.to_filter(), who.project_id)
    if wanted is None:
        return reply_page("[]", None)
    after = _read_cursor(query.starting_after, who.org_id, wanted)
    async with as_organization(request.app[RESOURCES].list_pool, who.org_id) as connection:
        page = await read_runs.list_page(connection, who.org_id, wanted, after, query.limit)
    cursor = write_cursor(page.next.bytes, "runs", who.org_id, wanted) if page.next else None
    return reply_page(page.data, cursor)


async def get_run(request: web.Request) -> web.Response:
    """One run."""
    parse_empty_query(request)
    who, run_id = caller(request), request.match_info["run_id"]
    text = None
    if "\0" not in run_id:  # which PostgreSQL would refuse, so no run has it
        async with as_organization(request.app[RESOURCES].pool, who.org_id) as connection:
            text = await read_runs.find_one(connection, who.org_id, run_id, who.project_id)
    if text is None:
        raise NotFound(f"there is no run {run_id[:200]!r}")
    return reply_text(text)


def _read_cursor(cursor: str | None, org_id: OrgId, wanted: RunFilter) -> RunKey | None:
    if cursor is None:
        return None
    place = read_cursor(cursor, "runs", org_id, wanted)
    if place is None or len(place) != 16:
        raise InvalidRequest("starting_after: not a cursor of this list with these filters", "starting_after")
    return RunKey(UUID(bytes=place))
