"""The public object of a result as JSON: for lists, histories, and comparisons, and as the first part of one result.

A result has its own values, and shares the others with the results of its run and with those of its case. The text of
each part is written once.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final

import orjson

from service.domain.filters import Position
from service.domain.ids import OrgId, RunKey
from service.domain.results import UNKNOWN_DURATION_MS
from service.domain.statuses import STATUS_NAMES
from service.domain.timestamps import format_ms
from service.store.postgres import composition
from service.store.postgres.database import Connection, Row
from service.store.queries.case_members import find_members
from service.store.result_rows import started_ms

_DIGITS: Final = 16  # of a case: with them, the SQL fragment `members` begins
_RESULT_COLUMNS: Final = ("run_keys", "case_keys", "outcomes", "durations_ms", "started_offsets_ms")
_RUN_COLUMNS: Final = ("keys_of_runs", "run_ids", "project_ids", "environments", "branches", "completed_ms")
_PASSED: Final = "p|0|1"  # the outcome that the fragment `outcome` returns as null
_CACHED_RUNS: Final = 5_000  # the newest runs are on most pages
_CACHED_OUTCOMES: Final = 1_000
_MAX_CHARACTER_BYTES: Final = 4  # of UTF-8


# The parts that are equal in all results of a run: until the digits of the case in `id`, from `run_id` until those in
# `case`, and from `completed_at` until the value of `failure_summary`; and the completion in milliseconds since 1970.
_RunParts = tuple[str, str, str, int]


async def read_items(connection: Connection, org_id: OrgId, page: Row, limit: int) -> tuple[list[str], Position | None]:
    """Return at most `limit` results of a row of `page_of_results`, and the last one of them if the list continues.

    If the results are large, only the first ones are returned. A result whose run or values were deleted is omitted.
    """
    run_keys, case_keys, *values = ((page[name] or ())[:limit] for name in _RESULT_COLUMNS)
    members = await find_members(connection, org_id, page["case_version"], case_keys)
    items = _write_items(zip(run_keys, members, *values, strict=True), _read_runs(page))
    count = _count_fitting(items)
    continues = count < len(page["case_keys"] or ())
    position = Position(run_keys[count - 1], case_keys[count - 1]) if continues else None
    return [item for item in items[:count] if item], position


def write_one(run_key: RunKey, row: Row) -> str:
    """Return the complete object of the result in a row of `one_result`."""
    fields = ("run_id", "project_id", "environment", "branch", "completed_ms")
    run = _run_parts(run_key.bytes, *(row[name] for name in fields))
    item = _write(run, row["members"], row["outcome"], row["duration_ms"], row["started_offset_ms"])
    return f"{item[:-1]},{row['rest'][1:]}"


def _read_runs(page: Row) -> dict[bytes, _RunParts]:
    """Return the parts of each run of a page. The run of a result can be missing, because it was deleted."""
    keys, *fields = (page[name] or () for name in _RUN_COLUMNS)
    run_keys = [key.bytes for key in keys]
    return dict(zip(run_keys, map(_run_parts, run_keys, *fields), strict=True))


def _write_items(rows: Iterable[tuple[Any, ...]], runs: Mapping[bytes, _RunParts]) -> list[str]:
    """Return the object of each row, which begins with the key of the run."""
    items: list[str] = []
    last_key = run = None
    for key, case_members, outcome, duration_ms, start_offset_ms in rows:
        if key != last_key:  # consecutive results usually have the same run
            last_key, run = key, runs.get(key.bytes)
        items.append(_write(run, case_members, outcome, duration_ms, start_offset_ms))
    return items


@lru_cache(_CACHED_RUNS)
def _run_parts(
    run_key: bytes, run_id: str, project_id: str, environment: str | None, branch: str | None, completed_ms: int
) -> _RunParts:
    fields = {"run_id": run_id, "project_id": project_id, "environment": environment, "branch": branch}
    return (
        f'{{"id":"res_{run_key.hex()}',
        f'",{_to_json(fields)[1:-1]},"case":"case_',
        f',"completed_at":"{format_ms(completed_ms)}","failure_summary":',
        completed_ms,
    )


def _write(
    run: _RunParts | None, members: str | None, outcome: str | None, duration_ms: int | None, start_offset_ms: int
) -> str:
    """Return the object of one result, or an empty text if a part of the result was deleted."""
    if run is None or members is None or duration_ms is None:
        return ""
    until_id, until_case, until_summary, completed_ms = run
    until_duration, summary = _outcome_parts(outcome or _PASSED)
    duration = "null" if duration_ms == UNKNOWN_DURATION_MS else duration_ms
    start_ms = started_ms(start_offset_ms, completed_ms)
    start = "null" if start_ms is None else f'"{format_ms(start_ms)}"'
    return (
        f"{until_id}{members[:_DIGITS]}{until_case}{members}{until_duration}{duration}"
        f',"started_at":{start}{until_summary}{summary}}}'
    )


@lru_cache(_CACHED_OUTCOMES)
def _outcome_parts(outcome: str) -> tuple[str, str]:
    """Return the part from the value of `status` until that of `duration_ms`, and the value of `failure_summary`."""
    status, is_flaky, attempts, *summary = outcome.split("|", 3)
    flaky = "true" if is_flaky == "1" else "false"
    until_duration = f'{STATUS_NAMES[status]}","flaky":{flaky},"attempts":{attempts},"duration_ms":'
    return until_duration, _to_json(summary[0]) if summary else "null"


def _count_fitting(items: Sequence[str]) -> int:
    """Return the number of items of a page, which ends after the item with which it becomes large."""
    if sum(map(len, items)) * _MAX_CHARACTER_BYTES < composition.MAX_PAGE_BYTES:
        return len(items)
    sizes = accumulate(len(item.encode()) for item in items)
    return next((number for number, size in enumerate(sizes, 1) if size >= composition.MAX_PAGE_BYTES), len(items))


def _to_json(value: object) -> str:
    return orjson.dumps(value).decode()
