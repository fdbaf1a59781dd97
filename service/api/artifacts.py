"""Artifacts over HTTP: what files belong to a result."""

from aiohttp import web

from service.api.callers import caller
from service.api.parsing import parse_query
from service.api.replies import reply_page
from service.api.resources import RESOURCES
from service.api.results import no_result, result_key
from service.contracts.queries import PageQuery
from service.domain.cursors import read_cursor, write_cursor
from service.domain.errors import InvalidRequest
from service.store import read_artifacts
from service.store.database import as_organization
from service.store.read_artifacts import ArtifactPlace


async def list_artifacts(request: web.Request) -> web.Response:
    """The files of a result and of its run."""
    query = parse_query(request, PageQuery)
    who, key = caller(request), result_key(request)
    of_list = ("artifacts", who.org_id, request.match_info["id"])
    after = _read_place(query.starting_after, of_list)
    async with as_organization(request.app[RESOURCES].pool, who.org_id) as connection:
        if not await read_artifacts.result_exists(connection, who.org_id, key, who.project_id):
            raise no_result(request)
        page = await read_artifacts.list_page(connection, who.org_id, key, after, query.limit)
    return reply_page(page.data, page.next and write_cursor(_place_bytes(page.next), *of_list))


def _place_bytes(place: ArtifactPlace) -> bytes:
    return bytes([place.run_level]) + place.artifact_key.to_bytes(8, signed=True)


def _read_place(cursor: str | None, of_list: tuple[object, ...]) -> ArtifactPlace | None:
    if cursor is None:
        return None
    place = read_cursor(cursor, *of_list)
    if place is None or len(place) != 9:
        raise InvalidRequest("starting_after: not a cursor of this list", "starting_after")
    return ArtifactPlace(bool(place[0]), int.from_bytes(place[1:], signed=True))
