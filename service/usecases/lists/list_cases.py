"""A page of the list of cases."""

from dataclasses import replace
from typing import Final

from service.contracts.queries import CasesQuery
from service.domain.cursors import CursorCodec, Cursors, pack_bigint, unpack_bigint
from service.domain.errors import InvalidRequest
from service.domain.filters import ResultFilter, restrict_to_project
from service.domain.ids import CaseKey
from service.domain.keys import Caller
from service.domain.rows import CaseRow
from service.store.postgres.database import Connection, Pool
from service.store.queries import cases
from service.store.queries.cases import CasePosition
from service.store.queries.pages import RowPage
from service.usecases.lists.pages import ListPage, read_page

_CODEC: Final = CursorCodec[CasePosition](
    lambda position: pack_bigint(position.suite_hash) + pack_bigint(position.case_key),
    lambda data: CasePosition(unpack_bigint(data[:8]), CaseKey(unpack_bigint(data[8:]))),
)


async def list_cases(pool: Pool, caller: Caller, query: CasesQuery) -> ListPage[CaseRow]:
    """Return cases of a project, grouped by suite. Raises InvalidRequest for a cursor of another list.

    The list is empty if the caller's key is bound to another project. A page can be short although the list continues.
    """
    filter_ = filter_of_cases(caller, query)
    if filter_ is None:
        return ListPage((), None)

    async def read(connection: Connection, after: CasePosition | None) -> RowPage[CaseRow, CasePosition]:
        return await cases.list_page(connection, caller.org_id, filter_, query.runs, after, query.limit)

    cursors = Cursors(_CODEC, "cases", caller.org_id, filter_.set_fields())
    return await read_page(pool, caller, cursors, query.starting_after, read)


def filter_of_cases(caller: Caller, query: CasesQuery) -> ResultFilter | None:
    """Return the filter for the project of the query, or else that of the caller's key.

    None means that the key is bound to another project. Raises InvalidRequest if neither has a project.
    """
    project_id = query.project_id or caller.project_id
    if project_id is None:
        raise InvalidRequest("project_id: is required unless the key is bound to a project", "project_id")
    return restrict_to_project(replace(query.to_filter(), project_id=project_id), caller.project_id)
