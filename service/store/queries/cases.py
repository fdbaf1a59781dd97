"""Queries for cases with statistics over their last runs."""

from typing import Final, NamedTuple

from service.domain.ids import CaseKey, OrgId
from service.store.postgres import composition
from service.store.postgres.composition import RUN_BUDGET, Statement, compose
from service.store.postgres.database import Connection

# The number of newest runs of the project in which a case is looked up. If it occurs in few of them, its statistics
# cover fewer runs than the client requested.
_WINDOW_IN_LISTS: Final = 200
_WINDOW_ALONE: Final = RUN_BUDGET


class CasePosition(NamedTuple):
    """A position in the list of cases of a project."""

    suite_hash: int
    case_key: CaseKey


_START: Final = CasePosition(-(2**63), CaseKey(-(2**63)))


class CasePage(NamedTuple):
    """`data` is a JSON array. `next` is the position where the list continues, or None at its end."""

    data: str
    next: CasePosition | None


async def list_page(
    connection: Connection,
    org_id: OrgId,
    project_id: str,
    suite: str | None,
    runs: int,
    after: CasePosition | None,
    limit: int,
) -> CasePage:
    """Return the next cases of the project, or of one suite, with statistics over their last `runs` runs."""
    after_suite, after_case = after or _START
    values = {
        "org_id": org_id, "project_id": project_id, "suite": suite, "runs": runs, "page": limit,
        "after_suite": after_suite, "after_case": after_case,
    }  # fmt: skip
    row = await page_statement(of_one_suite=suite is not None).fetch_row(connection, values)
    is_last = row["case_key"] is None
    return CasePage(row["data"], None if is_last else CasePosition(row["suite_hash"], CaseKey(row["case_key"])))


async def find_one(
    connection: Connection, org_id: OrgId, case_key: CaseKey, project_id: str | None, runs: int
) -> str | None:
    """Return one case as JSON, or None if the organization, or the given project, doesn't have it."""
    project_id = await find_project(connection, org_id, case_key, project_id)
    if project_id is None:
        return None
    values = {"org_id": org_id, "case_key": case_key, "project_id": project_id, "runs": runs}
    text: str | None = await one_statement().fetch_value(connection, values)
    return text


async def find_project(connection: Connection, org_id: OrgId, case_key: CaseKey, project_id: str | None) -> str | None:
    """Return the project of a case, or None if the organization, or the given project, doesn't have the case."""
    values = {"org_id": org_id, "case_key": case_key, "project_id": project_id}
    found: str | None = await compose("case_project").fetch_value(connection, values)
    return found


def page_statement(*, of_one_suite: bool) -> Statement:
    """Return the statement for the list."""
    suite = "suite_one" if of_one_suite else "suite_any"
    return compose("page_of_cases", suite=suite, window=_WINDOW_IN_LISTS, page_bytes=composition.MAX_PAGE_BYTES)


def one_statement() -> Statement:
    """Return the statement for one case."""
    return compose("one_case", window=_WINDOW_ALONE)
