"""Encoding of rows of `results` in the binary COPY format of PostgreSQL.

For this table, the encoder of the driver would take several times as long per row. The rows are encoded by column,
because most columns have the same value in all rows.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, chain
from struct import Struct, calcsize, pack
from typing import Any, Final, TypeVar

from service.domain.ids import OrgId, RunKey, completed_ms
from service.domain.results import UNTIMED_EVENT_S, CaseOutcome

# The columns of a run, and those of a result in the order of the fields of CaseOutcome, with their formats.
_RUN_FORMATS: Final = {"org_id": "i", "run_key": "16s"}
_RESULT_FORMATS: Final = {
    "case_key": "q", "status": "B", "duration_ms": "i", "started_offset_ms": "i", "event_time_offset_s": "i",
    "attempts": "h", "flaky": "?", "shard": "h",
}  # fmt: skip
COLUMNS: Final = (*_RUN_FORMATS, *_RESULT_FORMATS)

# A row is the number of columns, then each value after its length in bytes.
_RUN: Final = Struct(">h" + "".join(f"i{each}" for each in _RUN_FORMATS.values()))
_RESULT: Final = Struct(">" + "".join(f"i{each}" for each in _RESULT_FORMATS.values()))
_ROW_BYTES: Final = _RUN.size + _RESULT.size
_RUN_LENGTHS: Final = [calcsize(f">{each}") for each in _RUN_FORMATS.values()]
_RESULT_LENGTHS: Final = [calcsize(f">{each}") for each in _RESULT_FORMATS.values()]
_ENDS: Final = [
    _RUN.size + end for end in accumulate(length + 4 for length in _RESULT_LENGTHS)
]  # of the values in a row
HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"
_INT_MAX: Final = 2**31 - 1

UNKNOWN_START: Final = -(2**31)  # of started_offset_ms

T = TypeVar("T")
RunRows = tuple[OrgId, RunKey, Sequence[CaseOutcome]]


def pack_rows(runs: Sequence[RunRows]) -> bytearray:
    """Return the encoded rows of the outcomes of several runs, in their order. At least one run has an outcome."""
    columns = _columns(runs)
    first = _RESULT.pack(*_with_lengths(_RESULT_LENGTHS, [column[0] for column in columns]))
    rows = bytearray().join(
        (_RUN.pack(len(COLUMNS), *_with_lengths(_RUN_LENGTHS, (org_id, run_key.bytes))) + first) * len(outcomes)
        for org_id, run_key, outcomes in runs
    )
    for column, column_format, length, end in zip(
        columns, _RESULT_FORMATS.values(), _RESULT_LENGTHS, _ENDS, strict=True
    ):
        if column.count(column[0]) != len(column):
            values = pack(f">{len(column)}{column_format}", *column)
            for byte in range(length):
                rows[end - length + byte :: _ROW_BYTES] = values[byte::length]
    return rows


def _columns(runs: Sequence[RunRows]) -> list[Sequence[Any]]:
    """Return the values of each column of a result."""
    fields = zip(*chain.from_iterable(outcomes for _, _, outcomes in runs), strict=True)
    case_keys, statuses, durations, started, event_times, attempts, flaky, shards, *_ = fields
    starts: list[int] = []
    event_offsets: list[int] = []
    for _, run_key, outcomes in runs:
        base_ms = completed_ms(run_key)
        own = slice(len(starts), len(starts) + len(outcomes))
        starts += _convert(started[own], start_offset, base_ms)
        event_offsets += _convert(event_times[own], event_offset, base_ms // 1000)
    return [case_keys, "".join(statuses).encode(), durations, starts, event_offsets, attempts, flaky, shards]


def _convert(values: Sequence[T], function: Callable[[T, int], int], base: int) -> list[int]:
    """Return the results of the function. One call is sufficient for equal values."""
    if values and values.count(values[0]) == len(values):
        return [function(values[0], base)] * len(values)
    return [function(value, base) for value in values]


def _with_lengths(lengths: Sequence[int], values: Sequence[Any]) -> Iterator[Any]:
    return chain.from_iterable(zip(lengths, values, strict=True))


def event_offset(event_s: int, base_s: int) -> int:
    """Return the event time relative to the completion of the run.

    Clamped, so that results of a clock that is decades off can be stored. UNTIMED_EVENT_S is the least offset.
    """
    return max(-_INT_MAX, min(_INT_MAX, event_s - base_s))


def event_s(offset_s: int, base_s: int) -> int:
    """Return the event time of a stored result in s since 1970, or UNTIMED_EVENT_S."""
    return UNTIMED_EVENT_S if offset_s == -_INT_MAX else base_s + offset_s


def start_offset(started_ms: int | None, base_ms: int) -> int:
    """Return the start relative to the completion of the run. A start that is out of range is unknown."""
    if started_ms is None:
        return UNKNOWN_START
    offset = started_ms - base_ms
    return offset if -_INT_MAX <= offset <= _INT_MAX else UNKNOWN_START


def started_ms(offset_ms: int, base_ms: int) -> int | None:
    """Return the start of a stored result or attempt in ms since 1970, or None if it is unknown."""
    return None if offset_ms == UNKNOWN_START else base_ms + offset_ms
