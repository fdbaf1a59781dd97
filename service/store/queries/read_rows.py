"""The rows of results, from the columns of a statement."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import asyncpg
import orjson

from service.domain.filters import Position
from service.domain.ids import RunKey, completed_ms
from service.domain.results import UNKNOWN_DURATION_MS
from service.domain.rows import ResultRow, RunOfResults
from service.domain.timestamps import format_ms
from service.store.result_rows import started_ms

RESULT_COLUMNS: Final = len(ResultRow._fields)  # of the fragment `result_fields`, in the same order
_AFTER_RUNS: Final = RESULT_COLUMNS + 7


class FoundResults(NamedTuple):
    """The results that match, and the last candidate within the scan budget, or None if the budget didn't end."""

    rows: Sequence[ResultRow]
    edge: Position | None


def found_results(record: asyncpg.Record) -> FoundResults:
    """Return the results of a statement that ends in `read_results`, whose record has an array for each column."""
    columns, runs = record[:RESULT_COLUMNS], record[RESULT_COLUMNS:_AFTER_RUNS]
    edge_runs, edge_cases = record[_AFTER_RUNS:]
    edge = Position(edge_runs[-1], edge_cases[-1]) if edge_runs else None
    if columns[0] is None:
        return FoundResults((), edge)
    by_key = {fields[0]: run_of_results(*fields) for fields in zip(*runs, strict=True)}
    rows = [result_row(row, run) for row in zip(*columns, strict=True) if (run := by_key.get(row[0])) is not None]
    return FoundResults(rows, edge)


def run_of_results(
    key: RunKey,
    run_id: str,
    project_id: str,
    environment: str | None,
    branch: str | None,
    commit_sha: str | None,
    trusted: bool,
) -> RunOfResults:
    """Return the fields that the results of a run share. The key begins with the completion time."""
    completed = completed_ms(key)
    return RunOfResults(
        key, run_id, project_id, environment, branch, commit_sha, completed, format_ms(completed), trusted
    )


def result_row(columns: Sequence[Any], run: RunOfResults) -> ResultRow:
    """Return the result with these columns and this run."""
    _, case_key, case_id, variant, *same, duration_ms, start_ms, summary, fingerprint = columns
    pairs = {} if variant == "{}" else orjson.loads(variant)
    known_ms = None if duration_ms == UNKNOWN_DURATION_MS else duration_ms
    start = started_ms(start_ms, run.completed_ms)
    return ResultRow._make((run, case_key, case_id, pairs, *same, known_ms, start, summary, fingerprint))
