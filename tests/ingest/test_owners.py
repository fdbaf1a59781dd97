"""Owners of cases: the newest run of the default branch decides them, within limits, and forks never do."""

import asyncio
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from service.cases import store as cases_store
from service.ingest import parse_results
from service.ingest.ingest_runs import RunIngest
from service.ingest.store_batch import BatchStore
from tests.run_events import result, run_event
from tests.stored import RETENTION, Store, messages


def of_branch(branch: str | None, owners: Any, name: str = "works", **fields: Any) -> Any:
    stated = {} if owners is None else {"owners": owners}
    run = {"branch": branch} if branch else {}
    return run_event(uuid4().hex, [result(name, **stated, **fields)], **run)


async def owners_of(store: Store, name: str = "works") -> Any:
    """Return the owners of a case, after a check that both tables have the same ones."""
    different = await store.pool.fetch(
        "SELECT org_id, case_key, project_id, unnest(owners) AS owner FROM cases"
        " EXCEPT SELECT org_id, case_key, project_id, owner FROM case_owners"
        " UNION ALL (SELECT org_id, case_key, project_id, owner FROM case_owners"
        " EXCEPT SELECT org_id, case_key, project_id, unnest(owners) FROM cases)"
    )
    assert not different
    return await store.pool.fetchval("SELECT owners FROM cases WHERE name = $1", name)


@pytest.mark.parametrize(
    ("runs", "owners"),
    [
        ([("main", ["@a"])], ["@a"]),
        ([("main", ["@b", "@a", "@b"])], ["@b", "@a"]),
        ([("main", ["@a"]), ("main", ["@b", "@c"]), ("main", ["@c"])], ["@c"]),
        ([("main", ["@a"]), ("main", None)], ["@a"]),
        ([("main", ["@a"]), ("main", [])], []),
        ([("main", ["@a"]), ("fixes", ["@b"])], ["@a"]),
        ([("main", ["@a"]), ("fixes", [])], ["@a"]),
        ([("main", None), ("fixes", ["@b"])], []),
        ([("fixes", ["@b"])], ["@b"]),
        ([("fixes", ["@b"]), ("main", ["@a"])], ["@a"]),
        ([("main", ["@a"]), (None, ["@b"])], ["@b"]),
        ([("main", ["@a"]), ("fixes", ["@b"]), ("main", ["@a"]), ("main", ["@b"]), ("main", ["@a"])], ["@a"]),
    ],
)
async def test_newest_run_of_the_default_branch_decides(
    store: Store, runs: list[tuple[str | None, Any]], owners: list[str]
) -> None:
    for branch, stated in runs:
        await store.ingest(of_branch(branch, stated))
    assert await owners_of(store) == owners


async def test_default_branch_of_the_project_decides(store: Store, database_url: str) -> None:
    await store.ingest(of_branch("trunk", ["@a"]))
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE projects SET default_branch = 'trunk'")
    await connection.close()
    await store.ingest(of_branch("main", ["@b"]))
    assert await owners_of(store) == ["@a"]


async def test_runs_of_several_branches_in_one_batch(store: Store) -> None:
    await store.ingest(of_branch("main", ["@a"]))
    await store.ingest(of_branch("main", ["@b"]), of_branch("fixes", ["@c"]))
    assert await owners_of(store) == ["@b"]


async def test_case_that_moves_to_a_file_of_other_owners(store: Store) -> None:
    for branch, file, owner in (("main", "a.py", "@a"), ("moves", "b.py", "@b")):
        await store.ingest(of_branch(branch, [owner], file=file))
    assert await owners_of(store) == ["@a"]
    await store.ingest(of_branch("main", ["@b"], file="b.py"))
    assert await owners_of(store) == ["@b"]
    assert await store.pool.fetchval("SELECT file FROM cases") == "b.py"


async def test_property_names_the_owners(store: Store) -> None:
    await store.ingest(of_branch("main", None, properties={"owner": "@a, @b,,@a\n@c", "area": "cart"}))
    assert await owners_of(store) == ["@a", "@b", "@c"]
    await store.ingest(of_branch("main", ["@d"], properties={"owner": "@a"}))
    assert await owners_of(store) == ["@d"]


async def test_names_of_a_property_that_can_not_be_stored_are_problems(store: Store) -> None:
    names = ["x" * 101, "a\tb", *(f"@{number}" for number in range(11))]
    await store.ingest(of_branch("main", None, properties={"owner": ",".join(names)}))
    assert await owners_of(store) == names[2:12]
    (receipt,) = await store.receipts()
    assert receipt["problems"] == [
        {
            "index": 0,
            "name": "owner",
            "reason": "owner: only 10 printable names of at most 100 characters are stored",
        }
    ]


@pytest.mark.parametrize(
    "owners", ["@a", [""], ["x" * 101], ["a\nb"], [1], [f"@{number}" for number in range(11)], {"@a": 1}, [["@a"]]]
)
async def test_invalid_owners_reject_only_the_result(store: Store, owners: Any) -> None:
    await store.ingest(of_branch("main", ["@a"]))
    event = run_event("run_2", [result("works", owners=owners), result("other")], branch="main")
    (outcome,) = await store.ingest(event)
    assert outcome.status == "partial"
    assert (await store.receipts())[-1]["problems"][0]["reason"].startswith("owners")
    assert await owners_of(store) == ["@a"]


@pytest.mark.parametrize("fields", [{}, {"case_id": "tc_1"}, {"case_id": "tc_1", "file": "a.py"}, {"file": "a.py"}])
async def test_results_of_known_cases_with_owners_are_not_validated_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, fields: Any
) -> None:
    await store.ingest(of_branch("main", ["@a"], **fields))

    def validate(result: Any) -> None:
        raise AssertionError(result)

    monkeypatch.setattr(parse_results, "validate_result", validate)
    (outcome,) = await store.ingest(of_branch("main", ["@a"], **fields))
    assert (outcome.status, outcome.results) == ("stored", 1)


async def test_other_process_does_not_rely_on_replaced_owners(store: Store) -> None:
    other = RunIngest(BatchStore(store.pool, RETENTION))
    for owner in ("@a", "@b"):
        await store.ingest(of_branch("main", [owner]))
        await other.ingest(messages(of_branch("main", [owner])))
    await store.ingest(of_branch("main", ["@a"]))
    assert await owners_of(store) == ["@a"]
    await other.ingest(messages(of_branch("main", ["@b"])))
    assert await owners_of(store) == ["@b"]


async def test_owners_beyond_the_limit_of_the_organization_are_not_stored(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases_store, "MAX_OWNERS_OF_ORGANIZATION", 3)
    await store.ingest(of_branch("main", ["@a", "@b"]))
    await store.ingest(of_branch("main", ["@c", "@b", "@d", "@e"], "other"))
    assert await owners_of(store, "other") == ["@c", "@b"]
    assert (await store.receipts())[-1]["problems"] == [
        {"index": None, "name": None, "reason": "owners: an organization has at most 5000 owners; not stored: @d, @e"}
    ]
    await store.ingest(of_branch("main", []))  # frees @a
    await store.ingest(of_branch("main", ["@d"], "other"))
    assert await owners_of(store, "other") == ["@d"]


async def test_concurrent_processes_respect_the_limit_without_deadlocks(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases_store, "MAX_OWNERS_OF_ORGANIZATION", 20)
    processes = [RunIngest(BatchStore(store.pool, RETENTION)) for _ in range(3)]

    async def ingest(number: int, process: RunIngest) -> None:
        for step in range(8):
            names = [f"@{number}-{step}-{index}" for index in range(3)]
            results = [result(f"case {index}", owners=names) for index in range(4)]
            results += [result(f"case {number} {step}", owners=names)]
            outcomes = await process.ingest(messages(run_event(uuid4().hex, results, branch="main")))
            assert [outcome.status for outcome in outcomes] == ["stored"]

    await asyncio.gather(*(ingest(number, process) for number, process in enumerate(processes)))
    await owners_of(store)
    assert await store.pool.fetchval("SELECT count(DISTINCT owner) FROM case_owners") == 20


async def test_killed_transaction_leaves_both_tables_equal(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.ingest(of_branch("main", ["@a"]))
    statements = dict(cases_store._SQL)
    statements["count_changes"] = "SELECT pg_terminate_backend(pg_backend_pid()) WHERE $1::int[] IS NOT NULL"
    with monkeypatch.context() as patched:
        patched.setattr(cases_store, "_SQL", statements)
        ingesting = asyncio.create_task(store.ingest(of_branch("main", ["@b"])))
        await asyncio.sleep(0.5)
        assert await owners_of(store) == ["@a"]
    await ingesting
    assert await owners_of(store) == ["@b"]
