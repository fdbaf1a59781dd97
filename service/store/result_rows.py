"""Rows of the table `results` in PostgreSQL's binary COPY format: a packed row is the bytes that COPY reads.

For this one table it counts: the driver's own encoder takes four times as long for a row.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from struct import Struct
from typing import Final

from service.domain.ids import OrgId, RunKey, completed_ms
from service.domain.results import CaseOutcome

# Those that the results of a run mostly share stand first, so that they are packed once for many rows.
COLUMNS: Final = (
    "org_id", "run_key", "event_time_offset_s", "attempts", "status", "flaky",
    "case_key", "duration_ms", "started_offset_ms",
)  # fmt: skip

# The number of columns, then each of them behind its length; null is a length of -1.
_SHARED: Final = Struct("> h ii i16s ii ih i1s i?".replace(" ", ""))
_OWN: Final = Struct("> iq ii ii".replace(" ", ""))
_OWN_NOT_STARTED: Final = Struct("> iq ii i".replace(" ", ""))
_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER: Final = b"\xff\xff"
_INT_MAX: Final = 2**31 - 1

_shared = attrgetter("event_s", "attempt_count", "status", "flaky")


def pack_rows(org_id: OrgId, run_key: RunKey, outcomes: Sequence[CaseOutcome]) -> bytes:
    """The rows of one run, in the order of its outcomes."""
    base_ms = completed_ms(run_key)
    rows: list[bytes] = []
    for (event_s, attempts, status, flaky), group in groupby(outcomes, _shared):
        shared = _SHARED.pack(
            len(COLUMNS), 4, org_id, 16, run_key.bytes, 4, int32(event_s - base_ms // 1000), 2, attempts,
            1, status.encode(), 1, flaky,
        )  # fmt: skip
        rows += [shared + _pack_own(outcome, base_ms) for outcome in group]
    return b"".join(rows)


def copied(rows: Iterable[bytes]) -> bytes:
    """What COPY reads: the rows between a header and a trailer."""
    return b"".join((_HEADER, *rows, _TRAILER))


def int32(number: int) -> int:
    """A clock that is decades off stays storable: the offset stops at the ends of its column."""
    return max(-_INT_MAX, min(_INT_MAX, number))


def _pack_own(outcome: CaseOutcome, base_ms: int) -> bytes:
    if outcome.started_ms is None:
        return _OWN_NOT_STARTED.pack(8, outcome.case_key, 4, outcome.duration_ms, -1)
    return _OWN.pack(8, outcome.case_key, 4, outcome.duration_ms, 4, int32(outcome.started_ms - base_ms))
