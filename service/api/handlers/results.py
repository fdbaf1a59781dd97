"""Results over HTTP: the list, one in full."""

from typing import Final
from uuid import UUID

from aiohttp import web

from service.api.http.authentication import caller
from service.api.http.parsing import parse_query
from service.api.http.responses import reply_page, reply_with_etag
from service.api.server.resources import RESOURCES
from service.contracts.queries import PageQuery, ResultQuery
from service.domain.cursors import CursorCodec, Cursors, pack_bigint, unpack_bigint
from service.domain.errors import NotFound
from service.domain.filters import Position, ResultFilter, restrict_to_project
from service.domain.ids import CaseKey, RunKey, parse_result_id
from service.store.postgres.database import as_organization
from service.store.queries import results as read_results

_PLACES: Final = CursorCodec[Position](
    lambda place: place.run_key.bytes + pack_bigint(place.case_key),
    lambda data: Position(RunKey(UUID(bytes=data[:16])), CaseKey(unpack_bigint(data[16:]))),
)


async def list_results(request: web.Request) -> web.Response:
    """Results, newest run first."""
    query = parse_query(request, ResultQuery)
    wanted = restrict_to_project(query.to_filter(), caller(request).project_id)
    return await reply_results(request, wanted, query) if wanted else reply_page("[]", None)


async def reply_results(request: web.Request, wanted: ResultFilter, page: PageQuery) -> web.Response:
    """The page of the list that this filter and cursor stand for."""
    org_id = caller(request).org_id
    cursors = Cursors(_PLACES, "results", org_id, wanted.set_fields())
    after = cursors.read(page.starting_after)
    async with as_organization(request.app[RESOURCES].list_pool, org_id) as connection:
        found = await read_results.list_page(connection, org_id, wanted, after, page.limit)
    return reply_page(found.data, cursors.write(found.next))


async def get_result(request: web.Request) -> web.Response:
    """One result in full."""
    who, key, resources = caller(request), result_key(request), request.app[RESOURCES]
    async with as_organization(resources.pool, who.org_id) as connection:
        text = await read_results.find_one(connection, who.org_id, key, who.project_id, resources.settings.link_base)
    if text is None:
        raise result_not_found(request)
    return reply_with_etag(text)


def result_key(request: web.Request) -> tuple[RunKey, CaseKey]:
    """The key behind the id in the path. Raises NotFound for what can't be an id."""
    key = parse_result_id(request.match_info["id"])
    if key is None:
        raise result_not_found(request)
    return key


def result_not_found(request: web.Request) -> NotFound:
    """The same for an id that is malformed, absent or another organization's."""
    return NotFound(f"there is no result {request.match_info['id'][:100]!r}")
