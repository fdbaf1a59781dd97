"""The statements of a batch: their number doesn't depend on the number of its events, except for one per stored run."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.run_events import result, run_event
from tests.statements import record_statements
from tests.stored import Store

pytestmark = pytest.mark.one_server  # Citus executes others

RUNS = ("run_1", "run_2", "run_3")
FAILED = result("pays", "failed", failure={"message": "no money"})


def events_of(*runs: str, **fields: Any) -> list[dict[str, Any]]:
    return [run_event(run_id, [result("ships"), FAILED], **fields) for run_id in runs]


@pytest.fixture
async def statements(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements of the following batches, after one that fills the caches."""
    await store.ingest(*events_of("first"))
    return record_statements(monkeypatch)


async def count(store: Store, statements: list[str], *events: dict[str, Any]) -> int:
    """Return the number of statements of a batch of these events."""
    statements.clear()
    assert {outcome.status for outcome in await store.ingest(*events)} == {"stored"}
    return len(statements)


async def test_batch_executes_few_statements(store: Store, statements: list[str]) -> None:
    now = datetime.now(UTC).isoformat()
    await store.ingest(*events_of("today", time=now))  # creates the partitions of the month
    assert await count(store, statements, run_event("run_1", [result("ships")], time=now)) == 11
    assert await count(store, statements, *events_of("run_2", time=now)) == 13, "with the details and the failing cases"
    assert await count(store, statements, *events_of("late")) == 14, "with the day whose costs changed"


async def test_new_runs_of_a_batch_need_no_further_statements(store: Store, statements: list[str]) -> None:
    assert await count(store, statements, *events_of(*RUNS)) == await count(store, statements, *events_of("run_4"))


async def test_stored_runs_of_a_batch_are_written_together(store: Store, statements: list[str]) -> None:
    await store.ingest(*events_of(*RUNS, "run_4", shard=1, expected_shards=2))
    later: dict[str, Any] = {"shard": 2, "expected_shards": 2}
    results = [result("opens"), result("closes", "failed", failure={"message": "stuck"})]
    await store.ingest(run_event("other", results))  # stores the cases
    of_one = await count(store, statements, run_event("run_4", results, **later))
    of_all = await count(store, statements, *[run_event(run_id, results, **later) for run_id in RUNS])
    assert of_all - of_one == len(RUNS) - 1, "only the comparison with the stored results is one per run"
    assert [statements.count(table) for table in ("results", "result_details")] == [1, 1]
    for run_id in (*RUNS, "run_4"):
        run = await store.run(run_id)
        assert run is not None
        assert (run["passed"], run["failed"], run["complete"], run["revision"]) == (2, 2, True, 2)
        assert len(await store.results(run_id)) == 4


async def test_batch_that_changes_nothing_writes_no_results_and_runs(store: Store, statements: list[str]) -> None:
    await store.ingest(*events_of("run_1"))
    await count(store, statements, *events_of("run_1"))
    assert not any(query.startswith(("UPDATE runs", "results", "result_details")) for query in statements)
