"""A page of the list of quarantines, and the quarantine of a case."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from service.contracts.quarantines import QuarantineQuery
from service.contracts.responses import Quarantine
from service.domain.cursors import Cursors, ids
from service.domain.ids import CaseKey, OrgId, case_public_id, parse_case_id
from service.domain.keys import Caller
from service.domain.quarantines import CaseTexts
from service.store import quarantines
from service.store.postgres.database import Pool, as_organization
from service.store.quarantines import QuarantineRef, QuarantineSelection
from service.store.queries.comparison import find_texts
from service.usecases.lists.pages import ListPage
from service.usecases.quarantines.find_excused import ExcuseSearch

_QUARANTINES: Final = ids("qua")


async def list_quarantines(pool: Pool, caller: Caller, query: QuarantineQuery) -> ListPage[Quarantine]:
    """Return quarantines, newest first. Raises InvalidRequest for a cursor of another list."""
    if caller.project_id is not None and query.project_id not in (None, caller.project_id):
        return ListPage((), None)
    case_key = None if query.case is None else parse_case_id(query.case)
    selection = QuarantineSelection(query.project_id or caller.project_id, case_key, query.active)
    cursors = Cursors(_QUARANTINES, "quarantines", caller.org_id, selection._asdict())
    before = cursors.read(query.starting_after)
    async with as_organization(pool, caller.org_id) as connection:
        page = await quarantines.list_page(connection, caller.org_id, selection, before, query.limit)
    return ListPage(page.rows, cursors.write(page.next))


async def find_quarantine_of_case(pool: Pool, org_id: OrgId, case: Mapping[str, Any]) -> str | None:
    """Return the active quarantine that excuses the failures of a case in gates, as JSON, or None.

    `case` is a case in the format of the API. Raises Unavailable if the globs take too long.
    """
    project_id, key = case["project_id"], parse_case_id(case["id"])
    async with as_organization(pool, org_id) as connection:
        search = ExcuseSearch(await quarantines.active_quarantines(connection, org_id, project_id))
        texts = CaseTexts(key or CaseKey(0), case["suite"], case["name"], case["variant"])
        quarantine_id = (await search.find([texts])).get(texts.case_key)
        if quarantine_id is None:
            return None
        return await quarantines.find_one(connection, QuarantineRef(org_id, quarantine_id, project_id))


async def find_cases_of_quarantines(
    pool: Pool, org_id: OrgId, listed: Iterable[Mapping[str, Any]]
) -> dict[str, CaseTexts]:
    """Return the texts of the cases of quarantines in the format of the API, by the ID of the case."""
    keys = [key for quarantine in listed if (key := parse_case_id(quarantine["case"] or "")) is not None]
    if not keys:
        return {}
    async with as_organization(pool, org_id) as connection:
        return {case_public_id(texts.case_key): texts for texts in await find_texts(connection, org_id, keys)}
