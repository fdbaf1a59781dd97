"""Invalid events and results: the receipt states the reason, and everything valid is stored."""

from typing import Any

import asyncpg
import pytest

from service.ingest.ingest_runs import RunIngest
from service.ingest.store_batch import BatchStore
from tests.run_events import body, result, run_event
from tests.stored import RETENTION, Store, messages

LATER = "2026-05-20T13:00:00Z"


async def test_invalid_results_do_not_prevent_storage_of_the_valid_ones(store: Store) -> None:
    invalid: list[Any] = [result("bad", "failed", file=7), result("negative", duration_ms=-1), {"status": "passed"}, 7]
    (outcome,) = await store.ingest(run_event(results=[result("good"), *invalid]))
    assert outcome.status == "partial"
    assert [row[0] for row in await store.results()] == ["good"]
    (receipt,) = await store.receipts()
    assert (receipt["status"], receipt["results"]) == ("partial", 1)
    assert [problem["index"] for problem in receipt["problems"]] == [1, 2, 3, 4]
    assert receipt["problems"][0]["name"] == "bad"
    assert "file" in receipt["problems"][0]["reason"]
    assert "duration_ms" in receipt["problems"][1]["reason"]


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (b"\xff\xfe not json", "not_json"),
        (b"[]", "invalid"),
        ({**run_event(), "type": "other"}, "invalid"),
        ({**run_event(), "specversion": "0.3"}, "invalid"),
        (run_event(run_id=""), "invalid"),
        (run_event(run_id=".."), "invalid"),
        (run_event(run_id="a\nb"), "invalid"),
        (run_event(organization="unknown"), "unknown_organization"),
        (run_event(completed_at="1999-01-01T00:00:00Z"), "completed_at_out_of_range"),
        (run_event(completed_at="2999-01-01T00:00:00Z"), "completed_at_out_of_range"),
        (run_event(time="2099-01-01T00:00:00Z", completed_at="2026-05-20T12:00:00Z"), "completed_at_out_of_range"),
        (run_event(completed_at="yesterday"), "invalid"),
        (run_event(results=[result(suite=7)]), "no_valid_result"),
        (run_event(results=[result("x" * 5_000_000)]), "too_large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_invalid_event_is_rejected_without_affecting_the_batch(store: Store, event: Any, reason: str) -> None:
    first, outcome, last = await store.ingest(run_event("before"), event, run_event("after"))
    assert (first.status, last.status) == ("stored", "stored")
    assert (outcome.status, outcome.reason) == ("rejected", reason)
    assert outcome.message


async def test_rejection_names_a_missing_field(store: Store) -> None:
    event = run_event()
    del event["data"]["run"]["project_id"]
    (outcome,) = await store.ingest(event)
    assert "data.run.project_id" in (outcome.message or "")


async def test_replay_of_a_rejected_event_replaces_its_receipt(store: Store) -> None:
    event = run_event(id="one", completed_at="2999-01-01T00:00:00Z")
    await store.ingest(event)
    assert [receipt["status"] for receipt in await store.receipts()] == ["rejected"]
    event["data"]["run"]["completed_at"] = "2026-05-20T12:00:00Z"
    await store.ingest(event)
    assert [receipt["status"] for receipt in await store.receipts()] == ["stored"]


async def test_nul_and_lone_surrogates_are_replaced_and_reported(store: Store) -> None:
    text = body(run_event(results=[result("NUL\0", "failed", failure={"message": "SURROGATE"})]))
    (outcome,) = await store.ingest(text.replace(b"SURROGATE", b"\\ud800"))
    assert outcome.status == "stored"
    assert [row[0] for row in await store.results()] == ["NUL�"]
    assert await store.pool.fetchval("SELECT message FROM result_details") == "�"
    (receipt,) = await store.receipts()
    assert "U+FFFD" in receipt["problems"][0]["reason"]


async def test_result_with_a_nan_duration_is_rejected(store: Store) -> None:
    text = body(run_event(results=[result("nan", duration_ms=-77), result("good")])).replace(b"-77", b"NaN")
    (outcome,) = await store.ingest(text)
    assert outcome.status == "partial"
    assert [row[0] for row in await store.results()] == ["good"]


async def test_long_text_is_truncated_and_reported_and_empty_names_are_stored(store: Store) -> None:
    long = result("n" * 10_240, "failed", failure={"message": "m" * 20_000, "details": "d" * 200_000})
    await store.ingest(run_event(results=[long, result("")]))
    names = [row[0] for row in await store.results()]
    assert sorted(map(len, names)) == [0, 1_000]
    row = await store.pool.fetchrow("SELECT length(message), length(details) FROM result_details")
    assert row is not None
    assert tuple(row) == (10_000, 100_000)
    (receipt,) = await store.receipts()
    assert len(receipt["problems"]) == 3
    assert receipt["status"] == "stored"


async def test_newest_event_that_states_a_field_of_the_context_decides(store: Store) -> None:
    first: dict[str, Any] = {
        "pipeline": "github-1",
        "title": "First",
        "author": "Ada",
        "workflow": "CI",
        "job_url": "https://ci/1",
    }
    await store.ingest(run_event(time=LATER, title="Later", repository_url="https://github.com/acme/shop"))
    await store.ingest(run_event(**first))
    run = await store.pool.fetchrow("SELECT * FROM runs")
    assert run is not None
    assert {name: run[name] for name in (*first, "repository_url")} == {
        **first, "title": "Later", "repository_url": "https://github.com/acme/shop",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["ci_url", "job_url", "repository_url"])
async def test_long_context_is_truncated_and_an_invalid_link_is_not_stored(store: Store, name: str) -> None:
    invalid = {
        "http://ci/1": "must be a URL that starts with https://",
        "javascript:alert(1)": "must be a URL that starts with https://",
        "HTTPS://ci/1": "must be a URL that starts with https://",
        "https://": "must be a URL that starts with https://",
        "https://[ci": "must be a URL that starts with https://",
        "https://user:secret@ci/1": "must not contain a user name or password",
        "https://ci/\n": "must contain only printable ASCII characters without spaces",
        "https://ci/ä": "must contain only printable ASCII characters without spaces",
        "https://ci/" + "x" * 990: "must have at most 1000 characters",
    }
    for number, (url, reason) in enumerate(invalid.items()):
        run_id = f"run {number}"
        fields: dict[str, Any] = {"title": "t" * 201, "author": "a" * 201, "workflow": "w" * 201, name: url}
        await store.ingest(run_event(run_id, **fields))
        run = await store.pool.fetchrow("SELECT * FROM runs WHERE run_id = $1", run_id)
        assert run is not None
        assert (run["title"], run["author"], run["workflow"]) == ("t" * 200, "a" * 200, "w" * 200)
        assert run[name] is None
        receipt = (await store.receipts())[-1]
        assert receipt["status"] == "stored"
        reasons = [problem["reason"] for problem in receipt["problems"]]
        assert reasons[0] == "run.title: truncated to 200 characters"
        assert reasons[3].startswith(f"run.{name}: {reason}")
        assert reasons[3].endswith("; not stored")
        assert "secret" not in reasons[3]


async def test_pipeline_that_is_too_long_rejects_the_event(store: Store) -> None:
    (outcome,) = await store.ingest(run_event(pipeline="p" * 201))
    assert (outcome.status, outcome.reason) == ("rejected", "invalid")


async def test_case_key_collision_rejects_the_later_case(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.cases.model.case_key", lambda *_: 7)
    await store.ingest(run_event(results=[result("a")]))
    (outcome,) = await store.ingest(run_event("run_2", [result("b"), result("c", case_id="x")]))
    assert outcome.status == "partial" or outcome.reason == "no_valid_result"
    assert await store.results("run_2") == []
    problems = (await store.receipts())[-1]["problems"]
    assert all("case_key_clash" in problem["reason"] for problem in problems)


async def test_database_error_rejects_only_the_event_that_caused_it(store: Store, database_url: str) -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute("ALTER TABLE runs ADD CHECK (run_id <> 'poison')")
    await owner.close()
    outcomes = await store.ingest(run_event("before"), run_event("poison"), run_event("after"))
    assert [outcome.reason for outcome in outcomes] == [None, "refused_by_store", None]
    assert [receipt["status"] for receipt in await store.receipts()] == ["stored", "rejected", "stored"]


async def test_unknown_fields_are_ignored(store: Store) -> None:
    event = run_event(results=[result("a", color="green")], unknown="value")
    event["extension"] = 1
    assert [outcome.status for outcome in await store.ingest(event)] == ["stored"]


async def test_number_of_attempts_per_case_is_limited(store: Store) -> None:
    attempts = [result("a", "failed", case_id="tc_1", duration_ms=2_000_000_000)] * 1_200
    (outcome,) = await store.ingest(run_event(results=attempts))
    assert outcome.status == "partial"
    assert await store.results() == [("a", "failed", 2**31 - 1, 1_000, False)]


async def test_event_with_too_many_results_attempts_and_artifacts_is_rejected(store: Store) -> None:
    attempts = [{"status": "passed"}] * 3
    event = run_event(results=[result(attempts=attempts, artifacts=[{"name": "a"}])])
    limited = RunIngest(BatchStore(store.pool, RETENTION, max_rows=4))
    [outcome] = await limited.ingest(messages(event))
    assert (outcome.status, outcome.reason) == ("rejected", "too_large")
    assert outcome.message == "data.results: must have at most 4 results, attempts, and artifacts, has 5"
    assert [receipt["status"] for receipt in await store.receipts()] == ["rejected"]
    [outcome] = await store.ingest(event)
    assert outcome.status == "stored"


async def test_out_of_range_artifact_size_rejects_only_its_result(store: Store) -> None:
    too_large = result("too large", artifacts=[{"name": "a", "size": 2**63}])
    largest = result("largest", artifacts=[{"name": "a", "size": 2**53 - 1}])
    (outcome,) = await store.ingest(run_event(results=[too_large, largest]))
    assert (outcome.status, outcome.results) == ("partial", 1)
    (receipt,) = await store.receipts()
    assert receipt["problems"][0]["reason"] == "artifacts.0.size: must be at most 9007199254740991"
