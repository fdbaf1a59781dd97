"""Failure groups equal a model that reads every failing result, after any events, corrections, and deletions."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from service.database import database
from service.database.transactions import notifying_transaction
from service.domain.filters import START, ResultFilter
from service.domain.ids import (
    CaseKey,
    Fingerprint,
    RunKey,
    completed_ms,
    completion_minute,
    fingerprint_id,
    first_run_key,
    result_id,
    run_key,
)
from service.failures import store as failures_store
from service.failures.contract import write_failure_group_detail
from service.failures.minutes import KnownMinutes, recording_minutes
from service.ingest.ingest_runs import RunIngest
from service.ingest.store_batch import BatchStore
from service.results.queries import Budgets
from service.retention import store as retention_store
from service.retention.deletion import delete_run
from tests.database.filled import ORG, list_all_ids
from tests.run_events import result, run_event
from tests.stored import RETENTION, Store, messages

FIRST: Final = datetime(2026, 4, 30, 23, 58, tzinfo=UTC)
MESSAGES: Final = "the payment was not accepted by", "two words", "the cart is empty and closed"
TABLES: Final = "runs, cases, results, result_details, shard_results, failure_group_minutes, receipts"
STATUSES: Final = "passed", "failed", "error", "skipped"


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """Return an event of one of a few runs, which complete within a few minutes of two months."""
    number = draw(st.integers(0, 8))
    seconds = draw(st.integers(0, 3))
    results = [
        result(
            f"case {case}", draw(st.sampled_from(STATUSES)), suite=draw(st.sampled_from(["a", "b"])),
            case_id=f"tc_{case}", failure={"message": draw(st.sampled_from(MESSAGES))},
        )
        for case in draw(st.lists(st.integers(0, 4), unique=True, max_size=4))
    ]  # fmt: skip
    shard = draw(st.sampled_from([None, 1, 2]))
    part: dict[str, Any] = {"shard": shard} if shard else {}
    return run_event(
        f"run_{number}", results, time=f"{FIRST + timedelta(hours=1, seconds=seconds):%Y-%m-%dT%H:%M:%SZ}",
        completed_at=f"{FIRST + timedelta(seconds=17 * number):%Y-%m-%dT%H:%M:%S.999Z}",
        **part,
    )  # fmt: skip


STEPS = st.one_of(
    st.tuples(st.just("ingest"), st.lists(events(), min_size=1, max_size=4)),
    st.tuples(st.just("ingest elsewhere"), st.lists(events(), min_size=1, max_size=4)),
    st.tuples(st.just("fail"), st.lists(events(), min_size=1, max_size=2)),
    st.tuples(st.just("delete a run"), st.integers(0, 8)),
    st.tuples(st.just("expire"), st.tuples(st.integers(0, 200), st.integers(0, 200))),
)


async def execute(store: Store, other: RunIngest, step: tuple[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    action, argument = step
    if action == "ingest":
        await store.ingest(*argument)
    elif action == "ingest elsewhere":
        await other.ingest(messages(*argument))
    elif action == "fail":
        await roll_back(store, argument, monkeypatch)
    elif action == "delete a run":
        run = await store.run(f"run_{argument}")
        if run is not None:
            async with database.as_organization(store.pool, ORG) as connection, notifying_transaction(connection):
                await delete_run(connection, ORG, run["run_id"], None)
    else:
        low, high = sorted(argument)
        async with store.pool.acquire() as connection:
            month = retention_store.month_range(ORG, date(2026, 4, 1))
            start, end = (
                first_run_key(int((FIRST + timedelta(seconds=seconds)).timestamp() * 1000)) for seconds in (low, high)
            )
            await retention_store.delete_rows(connection, "results", month._replace(after=start, before=end), 1_000)


async def roll_back(store: Store, failing: Sequence[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ingest a batch whose transaction fails after its results were inserted."""

    async def fail(*_: Any) -> None:
        raise RuntimeError("the transaction fails")

    with monkeypatch.context() as patch:
        patch.setattr("service.ingest.store_batch.emit_run_events", fail)
        await store.ingest(*failing)


async def restore_empty(database_url: str) -> None:
    """Replace the content of the tables by that of an empty backup."""
    owner = await asyncpg.connect(database_url)
    await owner.execute(f"TRUNCATE {TABLES}")
    await owner.close()


async def failing_results(pool: asyncpg.Pool) -> dict[Fingerprint, list[tuple[RunKey, CaseKey]]]:
    """Return the keys of the failing results of each group, newest first."""
    found: dict[Fingerprint, list[tuple[RunKey, CaseKey]]] = {}
    for number, *key in await pool.fetch(
        "SELECT fingerprint, run_key, case_key FROM result_details WHERE org_id = $1 AND fingerprint IS NOT NULL"
        " ORDER BY run_key DESC, case_key DESC",
        ORG,
    ):
        found.setdefault(number, []).append((key[0], key[1]))
    return found


def time_of(key: RunKey) -> str:
    return (
        datetime.fromtimestamp(completed_ms(key) / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


async def test_failures_after_a_transaction_that_failed_are_found(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failed transaction inserted the minute, but must not make other transactions skip it."""
    first, second = (run_event(f"run_{n}", [result(status="failed")]) for n in (1, 2))
    await roll_back(store, [first], monkeypatch)
    await store.ingest(second)
    [(number, keys)] = (await failing_results(store.pool)).items()
    await check_group(store, number, keys, 5, Budgets())


async def test_failures_after_a_restore_are_found(store: Store, database_url: str) -> None:
    await store.ingest(run_event("run_1", [result(status="failed")]))
    await restore_empty(database_url)
    await store.ingest(run_event("run_2", [result(status="failed")]))
    [(number, keys)] = (await failing_results(store.pool)).items()
    await check_group(store, number, keys, 5, Budgets())


async def test_failures_in_a_month_that_was_dropped_before_are_found(store: Store, database_url: str) -> None:
    await store.ingest(run_event("run_1", [result(status="failed")]))
    owner = await asyncpg.connect(database_url)
    for table in ("results", "result_details"):
        await owner.execute(f"ALTER TABLE {table} DETACH PARTITION {table}_2026_05")
        await owner.execute(f"DROP TABLE {table}_2026_05")
    await owner.execute("DELETE FROM failure_group_minutes")
    await owner.close()
    await store.ingest(run_event("run_2", [result(status="failed")]))
    [(number, keys)] = (await failing_results(store.pool)).items()
    assert len(keys) == 1
    await check_group(store, number, keys, 5, Budgets())


@pytest.mark.parametrize("deleted", [1, 3])
async def test_group_is_read_again_if_its_first_or_last_run_is_deleted_meanwhile(
    store: Store, monkeypatch: pytest.MonkeyPatch, deleted: int
) -> None:
    for run in (1, 2, 3):
        event = run_event(f"run_{run}", [result(status="failed")], completed_at=f"2026-0{run}-20T12:00:00Z")
        await store.ingest(event)
    [(number, keys)] = (await failing_results(store.pool)).items()
    find_range = failures_store._find_range

    async def find_range_before_deletion(connection: Any, *arguments: Any) -> Any:
        found = await find_range(connection, *arguments)
        if await store.run(f"run_{deleted}") is not None:
            async with database.as_organization(store.pool, ORG) as other, notifying_transaction(other):
                await delete_run(other, ORG, f"run_{deleted}", None)
        return found

    monkeypatch.setattr(failures_store, "_find_range", find_range_before_deletion)
    async with database.as_organization(store.pool, ORG) as connection:
        found = await failures_store.find_one(connection, ORG, number, None)
    assert found is not None
    group = write_failure_group_detail(found)
    remaining = [key for key, _ in keys if key != keys[3 - deleted][0]]
    assert (group["runs"], group["first_seen"], group["last_seen"]) == (
        2,
        time_of(remaining[-1]),
        time_of(remaining[0]),
    )


async def test_each_process_inserts_a_minute_of_a_group_once(store: Store) -> None:
    other = RunIngest(BatchStore(store.pool, RETENTION))
    for run in range(6):
        event = run_event(f"run_{run}", [result(f"case {case}", "failed") for case in range(3)])
        await (store.run_ingest, other)[run % 2].ingest(messages(event))
    await store.ingest(run_event("run_7", [result(status="failed")], completed_at="2026-05-20T12:01:00Z"))
    await store.ingest(run_event("run_8", [result(status="passed"), result("b", "skipped")]))
    rows = await store.pool.fetch("SELECT minute, count(*) FROM failure_group_minutes GROUP BY minute ORDER BY minute")
    minute = int(datetime(2026, 5, 20, 12, tzinfo=UTC).timestamp()) // 60
    assert [tuple(row) for row in rows] == [(minute, 2), (minute + 1, 1)]


async def test_rows_are_known_after_their_transaction_until_an_error(store: Store) -> None:
    known = KnownMinutes(2**20)
    key = ORG, 1, Fingerprint(7)
    async with store.pool.acquire() as connection:
        with recording_minutes(known) as minutes:
            await minutes.insert(connection, [((ORG, 1), {Fingerprint(7)})])
            assert known.get(key) is None
        assert known.get(key)
        with pytest.raises(ZeroDivisionError), recording_minutes(known):
            _ = 1 / 0
    assert known.get(key) is None


async def test_minute_of_a_run_key_is_that_of_its_completion(store: Store) -> None:
    for ms in (0, 59_999, 60_000, 1_777_777_777_777):
        key = run_key(ORG, "run", ms)
        found = await store.pool.fetchrow(
            "SELECT completion_minute($1), first_run_key_of_minute($2)", key, ms // 60_000
        )
        assert found is not None
        assert tuple(found) == (completion_minute(key), first_run_key(ms // 60_000 * 60_000))
        assert completion_minute(key) == ms // 60_000
    assert await store.pool.fetchval("SELECT completion_minute($1)", START.run_key) == 2**31 - 1
    assert completion_minute(START.run_key) == 2**31 - 1


@pytest.mark.slow
@settings(
    max_examples=25,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),  # each step takes too long to shrink
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(STEPS, min_size=1, max_size=12), limit=st.integers(1, 4), budget=st.integers(1, 5))
async def test_groups_equal_those_of_all_failing_results(
    store: Store,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    steps: list[tuple[str, Any]],
    limit: int,
    budget: int,
) -> None:
    await restore_empty(database_url)
    other = RunIngest(BatchStore(store.pool, RETENTION))
    seen: set[Fingerprint] = set()
    for step in steps:
        await execute(store, other, step, monkeypatch)
        seen |= (await failing_results(store.pool)).keys()
    expected = await failing_results(store.pool)
    for number in seen:
        await check_group(store, number, expected.get(number, []), limit, Budgets(budget, budget))


async def check_group(
    store: Store, number: Fingerprint, keys: list[tuple[RunKey, CaseKey]], limit: int, budgets: Budgets
) -> None:
    ids = [result_id(*key) for key in keys]
    assert await list_all_ids(store.pool, ResultFilter(fingerprint=number), limit, budgets) == ids
    middle = completed_ms(keys[len(keys) // 2][0]) if keys else 0
    older = [result_id(*key) for key in keys if completed_ms(key[0]) < middle]
    assert await list_all_ids(store.pool, ResultFilter(fingerprint=number, to_ms=middle), limit, budgets) == older
    newer = [result_id(*key) for key in keys if completed_ms(key[0]) >= middle]
    assert await list_all_ids(store.pool, ResultFilter(fingerprint=number, from_ms=middle), limit, budgets) == newer
    async with database.as_organization(store.pool, ORG) as connection:
        found = await failures_store.find_one(connection, ORG, number, None)
        assert (await failures_store.find_project(connection, ORG, number, None)) == ("shop" if keys else None)
    if found is None:
        assert not keys
        return
    group = write_failure_group_detail(found)
    runs = sorted({key for key, _ in keys})
    assert (group["id"], group["results"], group["truncated"]) == (fingerprint_id(number), len(keys), False)
    assert (group["runs"], group["cases"]) == (len(runs), len({case for _, case in keys}))
    assert (group["first_seen"], group["last_seen"]) == (time_of(runs[0]), time_of(runs[-1]))
    example = await store.pool.fetchval(
        "SELECT case_key FROM result_details WHERE org_id = $1 AND run_key = $2 AND fingerprint = $3"
        " AND is_last_attempt AND status <> 'p' ORDER BY status DESC, case_key LIMIT 1",
        ORG, runs[-1], number,
    )  # fmt: skip
    assert group["example_result_id"] == result_id(runs[-1], example)
