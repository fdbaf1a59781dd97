"""Stored state and receipts after the ingest of valid, repeated, and invalid events."""

import asyncio
from datetime import UTC, datetime

import pytest

from service.cases.model import CasesVersion
from service.cases.store import ServerState, find_server_state
from service.domain.ids import OrgId
from service.ingest.batch_items import EventMessage
from service.ingest.ingest_runs import RunIngest
from service.ingest.parse_events import AcceptanceWindow, ParsedDataref, ParsedEvent, RejectedEvent, parse_event
from service.ingest.store_batch import BatchStore
from tests.run_events import result, run_event
from tests.stored import RETENTION, Store, messages


async def test_event_is_stored_with_its_counts(store: Store) -> None:
    event = run_event(results=[result("a"), result("b", "failed"), result("c", "skipped"), result("d", "error")])
    assert [outcome.status for outcome in await store.ingest(event)] == ["stored"]
    run = await store.run()
    assert run is not None
    assert (run["passed"], run["failed"], run["skipped"], run["error"]) == (1, 1, 1, 1)
    assert run["status_name"] == "error"
    assert run["complete"] is True


async def test_redelivered_event_changes_nothing(store: Store) -> None:
    event = run_event(results=[result("a"), result("b", "failed")])
    await store.ingest(event)
    before = await store.snapshot(), await store.receipts()
    assert [outcome.status for outcome in await store.ingest(event)] == ["duplicate"]
    assert (await store.snapshot(), await store.receipts()) == before


async def test_repeated_content_with_a_new_event_id_keeps_the_revision(store: Store) -> None:
    results = [result("a"), result("b", "failed", failure={"message": "no"})]
    await store.ingest_each(run_event(results=results), run_event(results=results))
    run = await store.run()
    assert run is not None
    assert run["revision"] == 1


async def test_reused_event_id_with_a_different_body_is_rejected(store: Store) -> None:
    await store.ingest(run_event(id="one", results=[result("a")]))
    (outcome,) = await store.ingest(run_event(id="one", results=[result("b")]))
    assert outcome.reason == "event_id_reused"
    assert [row[0] for row in await store.results()] == ["a"]


async def test_batch_distinguishes_a_duplicate_from_a_reused_event_id(store: Store) -> None:
    first, repeated, other = run_event(id="one"), run_event(id="one"), run_event("run_2", id="one")
    outcomes = await store.ingest(first, repeated, other)
    assert [outcome.status for outcome in outcomes] == ["stored", "duplicate", "rejected"]


async def test_later_event_corrects_a_case(store: Store) -> None:
    await store.ingest(run_event(results=[result("a", "failed"), result("b")]))
    await store.ingest(run_event(results=[result("a", "passed")], time="2026-05-20T12:05:00Z"))
    assert [row[:2] for row in await store.results()] == [("a", "passed"), ("b", "passed")]
    run = await store.run()
    assert run is not None
    assert (run["status_name"], run["revision"], run["failed"]) == ("passed", 2, 0)
    assert await store.pool.fetchval("SELECT count(*) FROM result_details") == 0


async def test_older_event_that_arrives_late_changes_nothing(store: Store) -> None:
    await store.ingest(run_event(results=[result("a", "passed")], time="2026-05-20T12:05:00Z"))
    await store.ingest(run_event(results=[result("a", "failed")], time="2026-05-20T12:00:00Z"))
    assert [row[:2] for row in await store.results()] == [("a", "passed")]


async def test_worse_status_wins_at_equal_event_times(store: Store) -> None:
    await store.ingest(run_event(results=[result("a", "failed")]))
    await store.ingest(run_event(results=[result("a", "passed")]))
    assert [row[:2] for row in await store.results()] == [("a", "failed")]


async def test_run_is_complete_after_all_shards_have_arrived(store: Store) -> None:
    for shard in (3, 1):
        await store.ingest(run_event(results=[result(f"case {shard}")], expected_shards=3, shard=shard))
    run = await store.run()
    assert run is not None
    assert run["complete"] is False
    await store.ingest(run_event(results=[result("case 2", "failed")], expected_shards=3, shard=2))
    run = await store.run()
    assert run is not None
    assert (run["complete"], run["passed"], run["failed"], run["status_name"]) == (True, 2, 1, "failed")


async def test_empty_last_shard_completes_the_run(store: Store) -> None:
    await store.ingest(run_event(expected_shards=2, shard=1))
    await store.ingest(run_event(results=[], expected_shards=2, shard=2))
    run = await store.run()
    assert run is not None
    assert run["complete"] is True


async def test_expected_results_are_counted_across_events(store: Store) -> None:
    await store.ingest(run_event(results=[result("a")], expected_results=2))
    run = await store.run()
    assert run is not None
    assert run["complete"] is False
    await store.ingest(run_event(results=[result("b")], expected_results=2))
    run = await store.run()
    assert run is not None
    assert run["complete"] is True


async def test_worst_status_of_the_shards_is_used_until_an_event_without_shards_states_one(store: Store) -> None:
    await store.ingest(run_event(results=[], expected_shards=2, shard=1, status="canceled"))
    await store.ingest(run_event(results=[result("a")], expected_shards=2, shard=2, status="passed"))
    run = await store.run()
    assert run is not None
    assert run["status_name"] == "canceled"
    await store.ingest(run_event(results=[], status="passed", time="2026-05-20T13:00:00Z"))
    run = await store.run()
    assert run is not None
    assert run["status_name"] == "passed"


async def test_attempts_produce_one_flaky_result(store: Store) -> None:
    attempts = [{"status": "failed", "failure": {"message": "no"}, "duration_ms": 5}, {"status": "passed"}]
    await store.ingest(run_event(results=[result("a", attempts=attempts)]))
    assert await store.results() == [("a", "passed", 812, 2, True)]
    rows = await store.pool.fetch(
        "SELECT attempt, status::text, message, is_last_attempt FROM result_details ORDER BY 1"
    )
    assert [tuple(row) for row in rows] == [(1, "f", "no", False), (2, "p", None, True)]


async def test_last_failing_attempt_of_a_flaky_result_is_marked(store: Store) -> None:
    attempts = [{"status": status} for status in ("failed", "error", "skipped", "passed")]
    failed = [{"status": "failed"}, {"status": "failed"}]
    await store.ingest(run_event(results=[result("a", attempts=attempts), result("b", "failed", attempts=failed)]))
    rows = await store.pool.fetch("SELECT attempt, flaky, count(*) FROM result_details GROUP BY 1, 2 ORDER BY 1, 2")
    assert [tuple(row) for row in rows if row["flaky"]] == [(2, True, 1)]
    assert sum(row["count"] for row in rows) == 6


@pytest.mark.parametrize(
    ("stated", "stored"), [(None, None), (0, 0), (0.001, 1), (0.5, 1), (1.4, 1), (1.5, 2), (2**31 - 1, 2**31 - 1)]
)
async def test_durations_are_integer_milliseconds(store: Store, stated: float | None, stored: int | None) -> None:
    failed = result("b", "failed", duration_ms=stated)
    await store.ingest(run_event(results=[result("a", duration_ms=stated), failed]))
    assert [row[2] for row in await store.results()] == [stored, stored]
    details = await store.pool.fetch("SELECT known_duration(duration_ms) AS duration_ms FROM result_details")
    assert [row["duration_ms"] for row in details] == [stored]


async def test_unknown_durations_of_attempts_are_not_added(store: Store) -> None:
    ids = [("a", 5), ("a", None), ("b", None), ("b", None)]
    await store.ingest(run_event(results=[result(name, case_id=name, duration_ms=ms) for name, ms in ids]))
    assert [row[:4] for row in await store.results()] == [("a", "passed", 5, 2), ("b", "passed", None, 2)]


async def test_repeated_case_id_is_a_further_attempt(store: Store) -> None:
    attempts = [
        result("a", "failed", case_id="tc_1", duration_ms=10),
        result("a", "passed", case_id="tc_1", duration_ms=5),
    ]
    await store.ingest(run_event(results=attempts))
    assert await store.results() == [("a", "passed", 15, 2, True)]


async def test_repeated_name_without_a_case_id_is_a_further_occurrence(store: Store) -> None:
    await store.ingest(run_event(results=[result("a"), result("a", "failed")]))
    assert [row[:2] for row in await store.results()] == [("a", "passed"), ("a", "failed")]


async def test_run_with_expired_results_keeps_its_counts(store: Store) -> None:
    await store.ingest(run_event(results=[result("a"), result("b", "failed")]))
    await store.pool.execute("UPDATE runs SET results_expired = true")
    before = await store.snapshot()
    (outcome,) = await store.ingest(run_event(results=[result("a", "failed")], time="2026-05-20T13:00:00Z"))
    assert (outcome.status, outcome.reason) == ("rejected", "completed_at_out_of_range")
    assert await store.snapshot() == before
    assert [receipt["status"] for receipt in await store.receipts()].count("rejected") == 1


async def test_later_event_of_a_large_run_reads_only_its_own_results(store: Store) -> None:
    async def read_rows() -> int:
        async with store.pool.acquire() as connection:  # the only connection of this test
            await connection.execute("SELECT pg_stat_force_next_flush()")
            read: int = await connection.fetchval(
                "SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_user_tables WHERE relname LIKE 'results_2%'"
            )
            return read

    if int(await store.pool.fetchval("SHOW server_version_num")) < 170_000:
        pytest.skip("before version 17, PostgreSQL reads all results of the run (docs/operations/sizing.md)")
    await store.ingest(run_event(results=[result(f"case {number}") for number in range(3_000)]))
    before = await read_rows()
    later = [result("case 1", "failed"), result("new", "skipped")]
    await store.ingest(run_event(results=later, time="2026-05-20T13:00:00Z"))
    assert await read_rows() - before < 100
    run = await store.run()
    assert run is not None
    assert (run["passed"], run["failed"], run["skipped"]) == (2_999, 1, 1)


async def test_run_id_of_another_project_is_rejected(store: Store) -> None:
    await store.ingest(run_event("run_1", project_id="shop"))
    (outcome,) = await store.ingest(run_event("run_1", project_id="bank"))
    assert outcome.reason == "run_id_conflict"
    both = await store.ingest(run_event("run_2", project_id="shop"), run_event("run_2", project_id="bank"))
    assert [outcome.reason for outcome in both] == [None, "run_id_conflict"]
    assert [receipt["status"] for receipt in await store.receipts()].count("rejected") == 2


async def test_event_can_contain_twenty_thousand_cases(store: Store) -> None:
    await store.ingest(run_event(results=[result(f"case {number}") for number in range(20_000)]))
    run = await store.run()
    assert run is not None
    assert run["passed"] == 20_000


async def test_concurrent_ingests_of_shards_create_one_run_without_deadlock(store: Store) -> None:
    """Two processes ingest the shards of the same runs in opposite orders."""
    other = RunIngest(BatchStore(store.pool, RETENTION))
    runs = [f"run_{number}" for number in range(8)]

    def shards(shard: int, order: list[str]) -> list[EventMessage]:
        return messages(
            *(
                run_event(name, [result(f"{shard}-{n}") for n in range(20)], expected_shards=2, shard=shard)
                for name in order
            )
        )

    for _ in range(5):
        await asyncio.gather(store.run_ingest.ingest(shards(1, runs)), other.ingest(shards(2, runs[::-1])))
    rows = await store.pool.fetch("SELECT passed, complete FROM runs")
    assert [tuple(row) for row in rows] == [(40, True)] * 8


async def test_event_in_two_concurrent_ingests_is_stored_once(store: Store) -> None:
    other = RunIngest(BatchStore(store.pool, RETENTION))
    events = messages(*(run_event(f"run_{number}", [result("a"), result("b")]) for number in range(30)))
    both = await asyncio.gather(store.run_ingest.ingest(events), other.ingest(events[::-1]))
    assert sorted(outcome.status for outcomes in both for outcome in outcomes) == ["duplicate"] * 30 + ["stored"] * 30
    assert await store.pool.fetchval("SELECT count(*) FROM results") == 60


async def test_correction_keeps_an_uploaded_file(store: Store) -> None:
    shot = {"kind": "screenshot", "name": "pay.png", "uri": "s3://x/pay.png"}
    await store.ingest(run_event(results=[result("a", "failed", artifacts=[shot])]))
    await store.pool.execute("UPDATE artifacts SET path = 'artifacts/1/x', uri = NULL")
    await store.ingest(run_event(results=[result("a", "passed", artifacts=[shot])], time="2026-05-20T13:00:00Z"))
    row = await store.pool.fetchrow("SELECT path, uri FROM artifacts")
    assert row is not None
    assert tuple(row) == ("artifacts/1/x", None)


async def test_renamed_case_with_a_case_id_keeps_its_identity_and_gets_the_new_name(store: Store) -> None:
    await store.ingest(run_event("run_1", [result("old name", case_id="tc_1")]))
    await store.ingest(run_event("run_2", [result("new name", case_id="tc_1")]))
    rows = await store.pool.fetch("SELECT name FROM cases")
    assert [row["name"] for row in rows] == ["new name"]


async def test_batch_with_two_projects_rejects_the_project_that_does_not_own_the_run(store: Store) -> None:
    await store.ingest(run_event(project_id="bank"))
    both = await store.ingest(run_event(project_id="shop"), run_event(results=[result("more")], project_id="bank"))
    assert [outcome.reason for outcome in both] == ["run_id_conflict", None]
    assert len(await store.results()) == 2


async def test_number_of_retries_is_stored_as_a_number(store: Store) -> None:
    await store.ingest(run_event(results=[result(retries=998, attempts=[{"status": "failed"}, {"status": "passed"}])]))
    assert await store.results() == [("logs in", "passed", 812, 999, True)]
    rows = await store.pool.fetch("SELECT attempt, is_last_attempt FROM result_details ORDER BY attempt")
    assert [tuple(row) for row in rows] == [
        (998, False), (999, True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "started_at",
    ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-14:00"],
)
async def test_run_with_an_extreme_start_time_accepts_further_events(store: Store, started_at: str) -> None:
    outcomes = await store.ingest_each(run_event(started_at=started_at), run_event(results=[result("a")]))
    assert [outcome.status for outcome in outcomes] == ["stored", "stored"]


async def test_parsing_a_batch_does_not_block_other_batches(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsing takes milliseconds: a batch with a response from the database must not wait for another batch."""
    parsed: list[bytes] = []

    def record_and_parse(
        event: bytes, window: AcceptanceWindow, max_rows: int
    ) -> ParsedEvent | ParsedDataref | RejectedEvent:
        parsed.append(event)
        return parse_event(event, window, max_rows)

    async with store.pool.acquire() as connection:
        files = (await find_server_state(connection, [])).files
    state = ServerState("", files, datetime.now(UTC), {OrgId(1): CasesVersion(0, 0)}, {})

    async def find_server_state_without_io(*_: object) -> ServerState:
        return state  # a slow response from the database would determine the order

    monkeypatch.setattr("service.cases.store.find_server_state", find_server_state_without_io)
    monkeypatch.setattr("service.ingest.batch_items.parse_event", record_and_parse)
    await store.ingest(run_event("caches_the_organization"))
    parsed.clear()
    async with store.pool.acquire(), store.pool.acquire():
        pass  # opens both connections
    first, second = (messages(*(run_event(f"run_{batch}_{number}") for number in range(5))) for batch in range(2))
    await asyncio.gather(store.run_ingest.ingest(first), store.run_ingest.ingest(second))
    assert parsed.index(second[0].body) < parsed.index(first[-1].body)
