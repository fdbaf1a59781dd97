"""Quarantines for a caller: a page of the list, one of them, and those of a case."""

from collections.abc import Iterable
from typing import Final

from service.contracts.quarantines import QuarantineQuery
from service.contracts.responses import Quarantine
from service.domain.comparison import ComparedRow
from service.domain.cursors import Cursors, ids
from service.domain.ids import CaseKey, OrgId, case_public_id, parse_case_id
from service.domain.keys import Caller
from service.domain.quarantines import CaseTexts
from service.store import quarantines
from service.store.postgres.database import Connection, Pool, as_organization
from service.store.quarantines import QuarantineRef, QuarantineSelection
from service.store.queries.comparison import find_texts
from service.store.queries.pages import RowPage
from service.usecases.lists.pages import ListPage, read_page
from service.usecases.quarantines.find_excused import ExcuseSearch
from service.usecases.quarantines.manage_quarantines import quarantine_ref, read_quarantine

_QUARANTINES: Final = ids("qua")


async def list_quarantines(pool: Pool, caller: Caller, query: QuarantineQuery) -> ListPage[Quarantine]:
    """Return quarantines, newest first. Raises InvalidRequest for a cursor of another list."""
    if caller.project_id is not None and query.project_id not in (None, caller.project_id):
        return ListPage((), None)
    case_key = None if query.case is None else parse_case_id(query.case)
    selection = QuarantineSelection(query.project_id or caller.project_id, case_key, query.active)

    async def read(connection: Connection, before: str | None) -> RowPage[Quarantine, str]:
        return await quarantines.list_page(connection, caller.org_id, selection, before, query.limit)

    cursors = Cursors(_QUARANTINES, "quarantines", caller.org_id, selection._asdict())
    return await read_page(pool, caller, cursors, query.starting_after, read)


async def find_quarantine(pool: Pool, caller: Caller, quarantine_id: str) -> Quarantine:
    """Return one quarantine. Raises NotFound."""
    ref = quarantine_ref(caller, quarantine_id)
    async with as_organization(pool, caller.org_id) as connection:
        return await read_quarantine(connection, ref)


async def find_excuses(pool: Pool, caller: Caller, rows: Iterable[ComparedRow]) -> dict[str, Quarantine]:
    """Return the quarantines that excuse the failures of a comparison, by ID."""
    excuse_ids = {row.compared.quarantine_id for row in rows if row.compared.quarantine_id is not None}
    if not excuse_ids:
        return {}
    async with as_organization(pool, caller.org_id) as connection:
        found = [await quarantines.find_one(connection, quarantine_ref(caller, each)) for each in excuse_ids]
    return {quarantine["id"]: quarantine for quarantine in found if quarantine is not None}


async def find_quarantine_of_case(pool: Pool, caller: Caller, project_id: str, case: CaseKey) -> Quarantine | None:
    """Return the active quarantine that excuses the failures of a case of this project in gates, or None.

    Raises Unavailable if the globs take too long.
    """
    async with as_organization(pool, caller.org_id) as connection:
        search = ExcuseSearch(await quarantines.active_quarantines(connection, caller.org_id, project_id))
        texts = await find_texts(connection, caller.org_id, [case])
        quarantine_id = (await search.find(texts)).get(case)
        if quarantine_id is None:
            return None
        return await quarantines.find_one(connection, QuarantineRef(caller.org_id, quarantine_id, project_id))


async def find_cases_of_quarantines(pool: Pool, org_id: OrgId, listed: Iterable[Quarantine]) -> dict[str, CaseTexts]:
    """Return the texts of the cases of quarantines, by the ID of the case."""
    keys = [key for quarantine in listed if (key := parse_case_id(quarantine["case"] or "")) is not None]
    if not keys:
        return {}
    async with as_organization(pool, org_id) as connection:
        return {case_public_id(texts.case_key): texts for texts in await find_texts(connection, org_id, keys)}
