"""Events of a run: one for each change, with the failing cases, deliveries, and event numbers in commit order."""

import asyncio
from typing import Any

import orjson
import pytest

from service.domain.ids import OrgId
from service.events.model import MAX_OBJECT_BYTES
from service.events.operations import number_events
from service.runs.contract import write_run
from service.runs.store import find_one, lock, row_of_stored
from tests.run_events import result, run_event, stated_fields
from tests.stored import Store

WEBHOOK = "whk_" + "0" * 32


async def stored_events(store: Store) -> list[tuple[str, dict[str, Any]]]:
    rows = await store.pool.fetch("SELECT type, data FROM events ORDER BY created_at, type, data->>'revision'")
    return [(row["type"], orjson.loads(row["data"])) for row in rows]


async def types(store: Store) -> list[str]:
    return [event_type for event_type, _ in await stored_events(store)]


async def add_webhook(store: Store, **columns: Any) -> None:
    row = {"org_id": 1, "webhook_id": WEBHOOK, "url": "https://example.com", "secret": "whsec_AA==", **columns}
    parameters = ", ".join(f"${n}" for n in range(1, len(row) + 1))
    await store.pool.execute(f"INSERT INTO webhooks ({', '.join(row)}) VALUES ({parameters})", *row.values())


async def test_passing_run_publishes_run_completed(store: Store) -> None:
    await store.ingest(run_event(branch="main"))
    [(event_type, run)] = await stored_events(store)
    assert event_type == "run.completed"
    assert run["run_id"] == "run_1"
    assert run["status"] == "passed"
    assert run["branch"] == "main"
    assert run["counts"] == {"passed": 1, "failed": 0, "error": 0, "skipped": 0, "canceled": 0, "flaky": 0}
    assert run["failing_cases"] == []
    assert run["links"]["run"].endswith("/v1/runs/run_1")
    assert run["links"]["console"] == run["links"]["run"].replace("/v1/", "/console/")


@pytest.mark.parametrize("status", ["failed", "error"])
async def test_failing_run_also_publishes_run_failed(store: Store, status: str) -> None:
    await store.ingest(
        run_event(results=[result("pays", status, variant={"os": "linux"}, failure={"message": "got 503\nat line 3"})])
    )
    assert await types(store) == ["run.completed", "run.failed"]
    for _, run in await stored_events(store):
        [case] = run["failing_cases"]
        assert (case["name"], case["status"], case["failure_summary"]) == ("pays", status, "got 503")
        assert case["variant"] == {"os": "linux"}
        assert case["id"].startswith("res_")


async def test_object_of_an_event_has_the_values_of_the_public_run(store: Store) -> None:
    event = run_event(started_at="2026-05-20T11:00:00Z", shard=1, expected_shards=2, **stated_fields())
    await store.ingest(event)
    await store.pool.execute("UPDATE runs SET pinned = true")
    await store.ingest(run_event(results=[result("other", "failed")], shard=2, branch="next"))
    _, published = (await stored_events(store))[-1]
    async with store.pool.acquire() as connection, connection.transaction():
        found = await find_one(connection, OrgId(1), "run_1", None)
        locked = await lock(connection, [(OrgId(1), "run_1")])
    assert found is not None
    assert row_of_stored(locked[OrgId(1), "run_1"], "acme") == found.run
    public = dict(write_run(found.run))
    assert published["revision"] == 2
    assert {name: value for name, value in published.items() if name in public} == {
        name: value for name, value in public.items() if name in published
    }
    assert public.keys() - published.keys() == {
        "ci_url", "expected_results", "expected_shards", "last_completed_at", "results_expired", "pinned", "trusted",
    }  # fmt: skip
    assert published["links"]["ci"] == public["ci_url"]


async def test_sharded_run_publishes_updates_before_and_after_its_completion(store: Store) -> None:
    for number in (1, 2):
        await store.ingest(run_event(results=[result(f"case {number}")], shard=number, expected_shards=2))
    await store.ingest(run_event(results=[result("case 1", "failed")], time="2026-05-20T13:00:00Z"))
    assert await types(store) == ["run.updated", "run.completed", "run.updated"]
    assert [run["revision"] for _, run in await stored_events(store)] == [1, 2, 3]


async def test_redelivered_event_publishes_nothing(store: Store) -> None:
    event = run_event()
    await store.ingest_each(event, event)
    assert await types(store) == ["run.completed"]


async def test_failing_cases_of_all_shards_are_listed(store: Store) -> None:
    await store.ingest(run_event(results=[result("one", "failed")], shard=1, expected_shards=2))
    await store.ingest(run_event(results=[result("two", "error")], shard=2, expected_shards=2))
    completed = [run for event_type, run in await stored_events(store) if event_type == "run.completed"]
    assert [case["name"] for case in completed[0]["failing_cases"]] == ["two", "one"]  # error before failed


async def test_failing_case_has_the_file_of_its_own_event(store: Store) -> None:
    await store.ingest(run_event("run_1", [result(file="a.py")], branch="main"))
    await store.ingest(run_event("run_2", [result(status="failed", file="b.py")], branch="moves"))
    [failed] = [run for event_type, run in await stored_events(store) if event_type == "run.failed"]
    assert [case["file"] for case in failed["failing_cases"]] == ["b.py"]


async def test_event_of_a_large_run_is_truncated_to_the_size_limit(store: Store) -> None:
    long = "\N{SNOWMAN}" * 1_000
    failing = [result(f"{number}{long}", "failed", file=long, failure={"message": long}) for number in range(100)]
    await store.ingest(run_event(results=failing, ci_url=long, labels={f"label {n}": "x" * 200 for n in range(50)}))
    for _, run in await stored_events(store):
        assert len(orjson.dumps(run)) <= MAX_OBJECT_BYTES
        assert run["truncated"]
        assert run["counts"]["failed"] == 100


async def test_event_of_a_run_with_the_longest_texts_is_truncated_to_the_size_limit(store: Store) -> None:
    long, longest, url = "\N{GRINNING FACE}" * 200, "\1" * 1_000, "https://ci.example/" + '"' * 900
    fields: dict[str, Any] = dict.fromkeys(("environment", "pull_request", "pipeline"), long)
    fields |= dict.fromkeys(("branch", "base_branch", "commit_sha", "ci_url", "title", "author", "workflow"), longest)
    await store.ingest(run_event(long, project_id=long, job_url=url, repository_url=url, **fields))
    ((_, run),) = await stored_events(store)
    assert len(orjson.dumps(run)) <= MAX_OBJECT_BYTES
    assert run["truncated"]
    assert (run["title"], run["links"]["ci"], run["branch"]) == (None, None, "\1" * 400)


@pytest.mark.parametrize(
    ("columns", "is_subscribed"),
    [
        ({}, True),
        ({"events": ["run.completed"]}, True),
        ({"events": ["export.completed"]}, False),
        ({"project_id": "shop"}, True),
        ({"project_id": "another"}, False),
        ({"enabled": False}, False),
    ],
)
async def test_each_subscribed_webhook_gets_a_delivery(
    store: Store, columns: dict[str, Any], is_subscribed: bool
) -> None:
    await add_webhook(store, **columns)
    await store.ingest(run_event())
    deliveries = await store.pool.fetch("SELECT webhook_id, event_id, due_at <= now() AS due FROM deliveries")
    events = await store.pool.fetch("SELECT event_id FROM events")
    expected = [(WEBHOOK, row["event_id"], True) for row in events if is_subscribed]
    assert [tuple(row) for row in deliveries] == expected


async def test_webhook_of_another_organization_gets_no_delivery(store: Store) -> None:
    await store.pool.execute("INSERT INTO organizations (slug, name) VALUES ('other', 'Other')")
    await add_webhook(store, org_id=2)
    await store.ingest(run_event())
    assert await store.pool.fetchval("SELECT count(*) FROM deliveries") == 0


async def test_event_numbers_follow_the_order_of_commits(store: Store) -> None:
    async with store.pool.acquire() as late:
        transaction = late.transaction()
        await transaction.start()
        await late.execute(
            "INSERT INTO events (org_id, event_id, type, data) VALUES (1, 'evt_late', 'run.updated', '{}')"
        )
        await store.ingest(run_event())
        assert await number_events(store.pool) == 1
        await transaction.commit()
    assert await number_events(store.pool) == 1
    last = await store.pool.fetchval("SELECT event_id FROM events ORDER BY number DESC LIMIT 1")
    assert last == "evt_late"


async def test_concurrent_numbering_numbers_each_event_once(store: Store) -> None:
    await store.ingest(*(run_event(f"run_{number}") for number in range(50)))
    counts = await asyncio.gather(*(number_events(store.pool) for _ in range(4)))
    assert sum(counts) == 50
    numbers = await store.pool.fetch("SELECT number FROM events ORDER BY number")
    assert len({row["number"] for row in numbers}) == 50
