"""Encoding of rows of `results` in the binary COPY format of PostgreSQL.

For this table, the encoder of the driver would take four times as long per row.
"""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from struct import Struct, calcsize
from typing import Any, Final, get_type_hints

from service.domain.ids import OrgId, RunKey, completed_ms
from service.domain.results import CaseOutcome, Int16

# The columns whose values differ between the results of a run, and the parts of an outcome that are in other tables.
_OWN_COLUMNS: Final = ("case_key", "duration_ms", "started_offset_ms")
_OTHER_FIELDS: Final = frozenset({"case_key", "duration_ms", "started_ms", "attempts", "artifacts"})

# The other fields of CaseOutcome. Most results of a run share their values, which are encoded once for many rows.
_COLUMN_NAMES: Final = {"event_s": "event_time_offset_s", "attempt_count": "attempts"}  # others: the name of the field
_STRUCT_FORMATS: Final = {bool: "?", str: "1s", Int16: "h", int: "i"}
_SHARED_FIELDS: Final = {
    field: _STRUCT_FORMATS[field_type]
    for field, field_type in get_type_hints(CaseOutcome, include_extras=True).items()
    if field not in _OTHER_FIELDS
}

COLUMNS: Final = (
    "org_id", "run_key", *(_COLUMN_NAMES.get(field, field) for field in _SHARED_FIELDS), *_OWN_COLUMNS,
)  # fmt: skip

# A row is the number of columns, then each value after its length in bytes.
_SHARED_FORMATS: Final = ("i", "16s", *_SHARED_FIELDS.values())
_SHARED_LENGTHS: Final = tuple(calcsize(f">{field_format}") for field_format in _SHARED_FORMATS)
_SHARED: Final = Struct(">h" + "".join(f"i{field_format}" for field_format in _SHARED_FORMATS))
_OWN: Final = Struct("> iq ii ii".replace(" ", ""))
HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"
_INT_MAX: Final = 2**31 - 1

UNKNOWN_START: Final = -(2**31)  # of started_offset_ms

_shared_values = itemgetter(*map(CaseOutcome._fields.index, _SHARED_FIELDS))
_EVENT_S, _STATUS = map(list(_SHARED_FIELDS).index, ("event_s", "status"))


def pack_rows(org_id: OrgId, run_key: RunKey, outcomes: Sequence[CaseOutcome]) -> bytes:
    """Return the encoded rows of one run, in the order of the outcomes."""
    base_ms = completed_ms(run_key)
    parts: list[Any] = [len(COLUMNS)] * (1 + 2 * len(_SHARED_LENGTHS))
    parts[1::2] = _SHARED_LENGTHS
    pack_own = _OWN.pack
    rows: list[bytes] = []
    for values, group in groupby(outcomes, _shared_values):
        fields = list(values)
        fields[_EVENT_S] = int32(fields[_EVENT_S] - base_ms // 1000)
        fields[_STATUS] = fields[_STATUS].encode()
        parts[2::2] = (org_id, run_key.bytes, *fields)
        shared = _SHARED.pack(*parts)
        rows += [
            shared + pack_own(
                8, outcome.case_key, 4, outcome.duration_ms,
                4, UNKNOWN_START if outcome.started_ms is None else start_offset(outcome.started_ms, base_ms),
            )
            for outcome in group
        ]  # fmt: skip
    return b"".join(rows)


def int32(number: int) -> int:
    """Clamp a number to the range of its column, so that results of a clock that is decades off can be stored."""
    return max(-_INT_MAX, min(_INT_MAX, number))


def start_offset(started_ms: int | None, base_ms: int) -> int:
    """Return the start relative to the completion of the run. A start that is out of range is unknown."""
    if started_ms is None:
        return UNKNOWN_START
    offset = started_ms - base_ms
    return offset if -_INT_MAX <= offset <= _INT_MAX else UNKNOWN_START


def started_ms(offset_ms: int, base_ms: int) -> int | None:
    """Return the start of a stored result or attempt in ms since 1970, or None if it is unknown."""
    return None if offset_ms == UNKNOWN_START else base_ms + offset_ms
