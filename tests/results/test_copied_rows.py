"""Comparison of the COPY encoding of result rows with the encoder of the driver."""

import io
from itertools import product
from typing import Any, Final

import asyncpg
import pytest

from service.domain.ids import CaseKey, OrgId, run_key
from service.domain.statuses import STATUS_NAMES
from service.domain.timestamps import MAX_DURATION_MS
from service.results import store as results_store
from service.results.model import UNKNOWN_DURATION_MS, CaseOutcome
from tests.run_events import run_event
from tests.stored import Store

BASE_MS: Final = 1_779_278_400_123
ORG: Final = OrgId(2**31 - 1)
KEY: Final = run_key(ORG, "run_1", BASE_MS)
MINIMUM: Final = -(2**31 - 1)
UNKNOWN_START: Final = -(2**31)

CASES: Final = (-(2**63), -1, 0, 2**63 - 1)
DURATIONS: Final = (UNKNOWN_DURATION_MS, 0, MAX_DURATION_MS)
# Start or event time -> offset that is stored.
STARTS: Final = {
    None: UNKNOWN_START,
    BASE_MS: 0,
    BASE_MS - 5: -5,
    BASE_MS + MINIMUM: MINIMUM,
    BASE_MS + MINIMUM - 1: UNKNOWN_START,
    BASE_MS + 2**31 - 1: 2**31 - 1,
    BASE_MS + 2**31: UNKNOWN_START,
}
EVENTS: Final = {BASE_MS // 1000: 0, BASE_MS // 1000 - 3: -3, -(2**62): MINIMUM, 2**62: 2**31 - 1}
ATTEMPTS: Final = (1, 2**15 - 1)
SHARDS: Final = (0, 10_000)
ALL: Final = list(product(CASES, STATUS_NAMES, (False, True), ATTEMPTS, DURATIONS, STARTS, EVENTS, SHARDS))


def encoded(values: tuple[Any, ...]) -> tuple[Any, ...]:
    case_key, status, flaky, attempts, duration_ms, started_ms, event_s, shard = values
    times = STARTS[started_ms], EVENTS[event_s]
    return ORG, KEY, case_key, status.encode(), flaky, attempts, duration_ms, *times, shard


@pytest.mark.parametrize("results", [ALL, ALL[:1], [ALL[-1]] * 3], ids=["all", "one", "equal"])
async def test_packed_rows_equal_the_rows_of_the_driver(database_url: str, results: list[tuple[Any, ...]]) -> None:
    outcomes = [CaseOutcome(CaseKey(values[0]), *values[1:]) for values in results]
    packed = results_store.HEADER + results_store.pack_rows([(ORG, KEY, outcomes)]) + results_store.TRAILER
    connection = await asyncpg.connect(database_url)
    for table in ("packed", "encoded"):
        await connection.execute(f"CREATE TEMP TABLE {table} (LIKE results)")
    columns = results_store.COLUMNS
    await connection.copy_to_table("packed", source=io.BytesIO(packed), columns=columns, format="binary")
    await connection.copy_records_to_table("encoded", records=map(encoded, results), columns=columns)
    packed_rows, driver_rows = [await connection.fetch(f"SELECT * FROM {table}") for table in ("packed", "encoded")]
    await connection.close()
    assert len(packed_rows) == len(results)
    assert packed_rows == driver_rows


def test_rows_of_several_runs_equal_those_of_each_run() -> None:
    outcomes = [CaseOutcome(CaseKey(values[0]), *values[1:]) for values in ALL]
    other = run_key(OrgId(1), "run_2", BASE_MS + 5_000)
    runs = [(ORG, KEY, outcomes[:100]), (OrgId(1), other, outcomes[50:51]), (ORG, KEY, [])]
    assert results_store.pack_rows(runs) == results_store.pack_rows(runs[:1]) + results_store.pack_rows(runs[1:2])


async def test_every_row_of_results_has_72_bytes_on_disk(store: Store) -> None:
    """PostgreSQL aligns rows to 8 bytes. A column that allows null would add a bitmap to rows with a null."""
    unknown = {"name": "unknown", "status": "passed"}
    known = {**unknown, "name": "known", "duration_ms": 1, "started_at": "2026-05-20T11:59:00Z"}
    await store.ingest(run_event(results=[unknown, known], expected_shards=2, shard=2))
    sizes = await store.pool.fetch("SELECT pg_column_size(r) AS bytes FROM results r")
    assert [(row["bytes"] + 7) // 8 * 8 for row in sizes] == [72, 72]
