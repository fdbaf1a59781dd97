"""The rows of results: the columns of a statement, and the fields of their runs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from service.domain.ids import OrgId, RunKey, completed_ms
from service.domain.results import UNKNOWN_DURATION_MS
from service.domain.rows import ResultRow, RunOfResults
from service.domain.timestamps import format_ms
from service.store.postgres.composition import compose
from service.store.postgres.database import Connection
from service.store.result_rows import started_ms

RESULT_COLUMNS: Final = len(ResultRow._fields)  # of the fragment `result_fields`, in the same order

# Creates a named tuple without calling its Python constructor, which is measurable once per result.
_tuple: Final = tuple.__new__


async def find_runs_of(connection: Connection, org_id: OrgId, keys: Iterable[RunKey]) -> dict[RunKey, RunOfResults]:
    """Return the runs with these keys. Deleted runs are omitted."""
    values = {"org_id": org_id, "run_keys": list(set(keys))}
    rows = await compose("runs_of_results").fetch_rows(connection, values) if values["run_keys"] else ()
    return {row["run_key"]: run_of_results(*row) for row in rows}


def run_of_results(
    key: RunKey, run_id: str, project_id: str, environment: str | None, branch: str | None
) -> RunOfResults:
    """Return the fields that the results of a run share. The key begins with the completion time."""
    completed = completed_ms(key)
    return RunOfResults(key, run_id, project_id, environment, branch, completed, format_ms(completed))


def result_rows(columns: Iterable[Sequence[Any]], runs: Mapping[RunKey, RunOfResults]) -> list[ResultRow]:
    """Return the results whose columns are those of the fragment `result_fields`, except those of deleted runs."""
    return [result_row(row, run) for row in columns if (run := runs.get(row[0])) is not None]


def result_row(columns: Sequence[Any], run: RunOfResults) -> ResultRow:
    """Return the result with these columns and this run."""
    _, *same, duration_ms, start_ms, summary = columns
    known_ms = None if duration_ms == UNKNOWN_DURATION_MS else duration_ms
    return _tuple(ResultRow, (run, *same, known_ms, started_ms(start_ms, run.completed_ms), summary))
