"""A case has the texts of the event that was stored last, although several processes cache the stored cases."""

import asyncio
import random
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from service.cases import store as cases_store
from service.ingest.ingest_runs import RunIngest
from service.ingest.store_batch import BatchStore
from tests.run_events import result, run_event
from tests.statements import record_statements
from tests.stored import RETENTION, Store, messages

NAMES = ("a", "b", "c")


def renamed(run_id: str, *results: dict[str, str]) -> Any:
    return run_event(run_id, [result(**fields) for fields in results])


async def texts(store: Store) -> dict[str, tuple[str, str]]:
    """Return the suite and the name of each case."""
    rows = await store.pool.fetch("SELECT case_id, suite, name FROM cases")
    return {row["case_id"]: (row["suite"], row["name"]) for row in rows}


async def test_case_that_gets_its_earlier_name_again(store: Store) -> None:
    for number, name in enumerate("aba"):
        await store.ingest(renamed(f"run_{number}", {"name": name, "case_id": "tc_1"}))
    assert {name for _, name in (await texts(store)).values()} == {"a"}


async def test_case_without_id_that_gets_its_earlier_file_again(store: Store) -> None:
    for number, file in enumerate("aba"):
        await store.ingest(renamed(f"run_{number}", {"name": "works", "file": file}))
    assert await store.pool.fetchval("SELECT file FROM cases") == "a"


@pytest.mark.parametrize("files", [("a", "b"), ("b", "a")])
async def test_equal_failures_of_one_second_show_the_same_file_in_any_order(
    store: Store, files: tuple[str, str]
) -> None:
    for file in files:
        await store.ingest(renamed("run_1", {"name": "fails", "status": "failed", "file": file}))
    assert await store.pool.fetchval("SELECT file FROM result_details") == "b"


def of_branch(branch: str | None, file: str | None, **run: Any) -> Any:
    fields = {"branch": branch, **run} if branch else run
    return run_event(uuid4().hex, [result("works", file=file) if file else result("works")], **fields)


async def file_of_case(store: Store) -> Any:
    return await store.pool.fetchval("SELECT file FROM cases WHERE name = 'works'")


@pytest.mark.parametrize(
    ("runs", "file"),
    [
        ([("main", "a"), ("moves", "b")], "a"),
        ([("main", "a"), ("moves", "b"), ("main", "b")], "b"),
        ([("main", "a"), ("main", "b")], "b"),
        ([("moves", "a"), ("moves", "b")], "b"),  # no run of the default branch contains the case
        ([("moves", "b"), ("main", "a"), ("moves", "b")], "a"),
        ([("master", "a"), ("moves", "b"), ("master", "c")], "c"),  # the default branch is unknown
        ([("main", "a"), (None, "b")], "b"),
        ([("main", None), ("moves", "b")], "b"),
        ([("main", "a"), ("moves", None)], "a"),
    ],
)
async def test_runs_of_the_default_branch_decide_the_file_of_a_case(
    store: Store, runs: list[tuple[str | None, str | None]], file: str
) -> None:
    for branch, stated in runs:
        await store.ingest(of_branch(branch, stated))
    assert await file_of_case(store) == file


async def test_untrusted_run_of_the_default_branch_does_not_decide_the_file_of_a_case(store: Store) -> None:
    await store.ingest(of_branch("main", "a"))
    await store.pool.execute("UPDATE runs SET trusted = false")
    await store.ingest(of_branch("moves", "b"))
    assert await file_of_case(store) == "b"


async def test_newest_runs_of_the_default_branch_decide(store: Store) -> None:
    """A case that was deleted there, and that another branch still contains, gets the file of this branch."""
    await store.ingest(of_branch("main", "a", time="2026-05-19T12:00:00Z"))
    await store.ingest(*[run_event(uuid4().hex, [result("other")], branch="main") for _ in range(99)])
    await store.ingest(of_branch("moves", "b"))
    assert await file_of_case(store) == "a"
    await store.ingest(run_event(uuid4().hex, [result("other")], branch="main"))
    await store.ingest(of_branch("moves", "b"))
    assert await file_of_case(store) == "b"


async def test_branch_that_moves_files_writes_no_cases(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.ingest(of_branch("main", "a"))
    statements = record_statements(monkeypatch)
    for _ in range(3):
        await store.ingest(of_branch("moves", "b"))
    assert not [query for query in statements if "INSERT INTO cases" in query]


async def test_case_id_gets_its_new_name_from_a_branch_but_not_its_file(store: Store) -> None:
    await store.ingest(run_event("run_1", [result("old", case_id="tc_1", file="a")], branch="main"))
    await store.ingest(run_event("run_2", [result("new", case_id="tc_1", file="b")], branch="moves"))
    [case] = await store.pool.fetch("SELECT name, file FROM cases")
    assert tuple(case) == ("new", "a")


async def test_random_changes_in_two_processes_lead_to_the_newest_texts(store: Store) -> None:
    rng = random.Random(7)
    processes = [store.run_ingest, RunIngest(BatchStore(store.pool, RETENTION))]
    expected: dict[str, tuple[str, str]] = {}
    for number in range(60):
        batch = []
        for index in range(rng.randint(1, 3)):
            changed: list[dict[str, str]] = []
            for case_id in rng.choices(("tc_1", "tc_2", "tc_3"), k=rng.randint(1, 4)):
                fields = {"case_id": case_id, "suite": rng.choice("xy"), "name": rng.choice(NAMES)}
                if rng.random() < 0.5:
                    fields["file"] = rng.choice("pq")
                changed.append(fields)
                expected[case_id] = fields["suite"], fields["name"]
            batch += messages(renamed(f"run_{number}_{index}", *changed))
        outcomes = await rng.choice(processes).ingest(batch)
        assert {outcome.status for outcome in outcomes} == {"stored"}
        assert await texts(store) == expected, number


async def test_concurrent_changes_lead_to_the_texts_of_a_later_event(store: Store) -> None:
    """The order of concurrent events is arbitrary. An event after all of them wins."""
    processes = [store.run_ingest, RunIngest(BatchStore(store.pool, RETENTION))]
    for number in range(8):
        await asyncio.gather(
            *[
                process.ingest(messages(renamed(f"run_{number}_{name}_{index}", {"name": name, "case_id": "tc_1"})))
                for index, process in enumerate(processes)
                for name in NAMES
            ]
        )
        name = NAMES[number % len(NAMES)]
        await processes[number % 2].ingest(messages(renamed(f"last_{number}", {"name": name, "case_id": "tc_1"})))
        assert {found for _, found in (await texts(store)).values()} == {name}


@pytest.mark.citus
async def test_change_that_is_not_visible_on_its_worker_yet(store: Store, database_url: str) -> None:
    """The coordinator commits first. Meanwhile, an event of another process has the text that the worker returns."""
    await store.ingest(renamed("run_1", {"name": "a", "case_id": "tc_1"}))
    coordinator = await asyncpg.connect(database_url)
    [(host, port, shard)] = await coordinator.fetch(
        "SELECT nodename, nodeport, shard_name('cases', shardid)"
        " FROM pg_dist_placement JOIN pg_dist_node USING (groupid)"
        " WHERE shardid = get_shard_id_for_distribution_column('cases', 1)"
    )
    worker = await asyncpg.connect(database_url, host=host, port=port)
    transaction = worker.transaction()
    await transaction.start()
    await worker.execute("SET LOCAL citus.enable_manual_changes_to_shards = on")
    await worker.execute(f"UPDATE {shard} SET name = 'b'")
    await coordinator.execute("UPDATE organizations SET cases_version = cases_version + 1")
    ingest = asyncio.create_task(store.ingest(renamed("run_2", {"name": "a", "case_id": "tc_1"})))
    await asyncio.sleep(0.3)
    await transaction.commit()
    await ingest
    assert await texts(store) == {"tc_1": ("auth.login", "a")}
    await asyncio.gather(coordinator.close(), worker.close())


async def test_known_cases_need_no_statement(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    find_stored = cases_store.find_stored

    async def counted(connection: Any, refs: Any) -> Any:
        read.append(len(refs))
        return await find_stored(connection, refs)

    monkeypatch.setattr(cases_store, "find_stored", counted)
    known = [{"name": name, "case_id": f"tc_{name}"} for name in NAMES]
    for number in range(5):
        await store.ingest(renamed(f"run_{number}", *known))
    first_uses = list(read)
    await store.ingest(renamed("renamed", {"name": "new", "case_id": "tc_a"}))
    read.clear()
    for number in range(5):
        await store.ingest(renamed(f"later_{number}", {"name": "new", "case_id": "tc_a"}, *known[1:]))
    assert len(first_uses) <= 3
    assert read == [3]
