"""The splits of a run: its plans, the assignments of its uploads, and the durations of items."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from service.database.database import Connection
from service.database.statements import statements
from service.domain.ids import OrgId, RunKey
from service.splits.model import MAX_ASSIGNMENTS, SplitUnit

_SQL: Final = statements("splits", "queries")


class SplitDocument(NamedTuple):
    """A plan, or an assignment of a receipt. Absent texts are empty. `document` has the other fields."""

    receipt_id: str
    key: str
    pipeline: str
    run_id: str
    document: bytes


async def insert_assignment(connection: Connection, org_id: OrgId, project_id: str, assignment: SplitDocument) -> None:
    """Add an assignment of an upload, unless its receipt has one with this key."""
    await connection.execute(_SQL["insert_assignment"], org_id, project_id, *assignment)


async def find_of_run(
    connection: Connection, org_id: OrgId, project_id: str, run: tuple[RunKey, str]
) -> list[SplitDocument]:
    """Return the plans and accepted assignments of a run, at most `MAX_ASSIGNMENTS` and one more of the latter."""
    rows = await connection.fetch(_SQL["find_of_run"], org_id, project_id, *run, MAX_ASSIGNMENTS + 1)
    return list(dict.fromkeys(SplitDocument(*row) for row in rows))  # a split can have a pipeline and a run


async def find_runs(connection: Connection, org_id: OrgId, project_id: str, run_key: RunKey) -> list[RunKey]:
    """Return a run, and the trusted runs of its project and pipeline."""
    return [row[0] for row in await connection.fetch(_SQL["find_runs"], org_id, project_id, run_key)]


async def find_executed(
    connection: Connection, org_id: OrgId, run_keys: Sequence[RunKey], unit: SplitUnit, variant: Mapping[str, str],
    names: Sequence[str],
) -> dict[str, int | None]:  # fmt: skip
    """Return the names of items that have results in the runs, with the sums of their durations in ms, if known."""
    if not run_keys or not names:
        return {}
    values = run_keys, min(run_keys), max(run_keys), unit, variant, names
    return dict(map(tuple, await connection.fetch(_SQL["find_executed"], org_id, *values)))
