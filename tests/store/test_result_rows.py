"""Comparison of the COPY encoding of result rows with the encoder of the driver."""

import io
from itertools import product
from typing import Any, Final

import asyncpg

from service.domain.ids import CaseKey, OrgId, run_key
from service.domain.results import MAX_DURATION_MS, CaseOutcome
from service.domain.statuses import STATUS_NAMES
from service.store import result_rows

BASE_MS: Final = 1_779_278_400_123
ORG: Final = OrgId(2**31 - 1)
KEY: Final = run_key(ORG, "run_1", BASE_MS)
MINIMUM: Final = -(2**31 - 1)

CASES: Final = (-(2**63), -1, 0, 2**63 - 1)
DURATIONS: Final = (0, MAX_DURATION_MS)
# Start or event time -> offset that is stored.
STARTS: Final = {
    None: None,
    BASE_MS: 0,
    BASE_MS - 5: -5,
    BASE_MS + 7: 7,
    0: MINIMUM,
    10**14: 2**31 - 1,
}
EVENTS: Final = {BASE_MS // 1000: 0, BASE_MS // 1000 - 3: -3, -(2**62): MINIMUM, 2**62: 2**31 - 1}
ATTEMPTS: Final = (1, 2**15 - 1)
ALL: Final = list(product(CASES, STATUS_NAMES, DURATIONS, STARTS, EVENTS, ATTEMPTS, (False, True)))


def encoded(values: tuple[Any, ...]) -> tuple[Any, ...]:
    case_key, status, duration_ms, started_ms, event_s, attempts, flaky = values
    started_offset_ms, event_time_offset_s = STARTS[started_ms], EVENTS[event_s]
    return ORG, KEY, status.encode(), event_time_offset_s, attempts, flaky, case_key, duration_ms, started_offset_ms


async def test_packed_rows_equal_the_rows_of_the_driver(database_url: str) -> None:
    outcomes = [CaseOutcome(CaseKey(values[0]), *values[1:]) for values in ALL]
    packed = result_rows.copy_stream([result_rows.pack_rows(ORG, KEY, outcomes), result_rows.pack_rows(ORG, KEY, [])])
    connection = await asyncpg.connect(database_url)
    for table in ("packed", "encoded"):
        await connection.execute(f"CREATE TEMP TABLE {table} (LIKE results)")
    columns = result_rows.COLUMNS
    await connection.copy_to_table("packed", source=io.BytesIO(packed), columns=columns, format="binary")
    await connection.copy_records_to_table("encoded", records=map(encoded, ALL), columns=columns)
    packed_rows, driver_rows = [await connection.fetch(f"SELECT * FROM {table}") for table in ("packed", "encoded")]
    await connection.close()
    assert len(packed_rows) == len(ALL)
    assert packed_rows == driver_rows
