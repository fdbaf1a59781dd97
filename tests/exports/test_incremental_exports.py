"""Exports of runs and of changes over HTTP: fields and types in every format, positions, and invalid requests."""

import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import orjson
import pyarrow.parquet
import pytest

from service.events.operations import number_events
from service.exports.columns import ARROW_TYPES, EXPORT_COLUMNS, EXPORT_CONTENTS, columns_of
from service.retention.erasure import erase_author
from tests.exporting import Exports, exporting
from tests.run_events import result, run_event, stated_fields

PATH = "/v1/results/export"


@pytest.fixture
async def exports(database_url: str, tmp_path: Path) -> AsyncIterator[Exports]:
    async with exporting(database_url, (tmp_path / "files").as_uri()) as opened:
        yield opened


async def ingest(exports: Exports, run_id: str, **fields: Any) -> None:
    (outcome,) = await exports.api.store.ingest(run_event(run_id, [result(), result("b", "failed")], **fields))
    assert outcome.status == "stored"


async def rows(exports: Exports, **request: Any) -> tuple[list[Any], str]:
    """Return the rows and the position of an export."""
    job = await exports.run("ndjson", **request)
    return [orjson.loads(line) for line in (await exports.content(job)).splitlines()], job["position"]


async def test_exported_run_equals_the_run_in_every_format(exports: Exports) -> None:
    stated = {**stated_fields(), "environment": None}
    await ingest(exports, "=1", started_at="2026-05-20T11:50:00Z", **stated)
    run = await exports.api.get("/v1/runs/=1")
    assert stated.items() <= run.items()
    expected = {name: (run | run["counts"] | {"deleted": False})[name] for name in columns_of("runs")}
    ((exported,), _) = await rows(exports, content="runs")
    assert exported == expected
    (as_json,) = orjson.loads(await exports.content(await exports.run("json", content="runs")))
    assert as_json == expected
    text = (await exports.content(await exports.run("csv", content="runs"))).decode()
    (as_csv,) = csv.DictReader(io.StringIO(text))
    assert as_csv["run_id"] == "'=1"
    assert (as_csv["complete"], as_csv["deleted"], as_csv["labels"]) == ("true", "false", '{"team": "web"}')
    assert (as_csv["completed_at"], as_csv["environment"]) == (run["completed_at"], "")


@pytest.mark.parametrize("content", EXPORT_CONTENTS)
async def test_parquet_has_the_documented_types(exports: Exports, content: str) -> None:
    await ingest(exports, "run_1")
    job = await exports.run("parquet", content=content)
    assert job["content"] == content
    schema = pyarrow.parquet.read_schema(io.BytesIO(await exports.file(job)))
    documented = {name: ARROW_TYPES[column.type] for name, column in EXPORT_COLUMNS[content].items()}
    assert {field.name: str(field.type) for field in schema} == documented
    response = await exports.api.send("GET", f"{PATH}/{job['id']}/file")
    assert f'filename="{content}-' in response.headers["Content-Disposition"]


async def test_increment_contains_the_runs_of_an_erased_author(exports: Exports) -> None:
    await ingest(exports, "erased", author="Jane Doe")
    await ingest(exports, "unchanged", author="Bob")
    pool = exports.api.store.pool
    await number_events(pool)
    _, position = await rows(exports, content="runs")
    async with pool.acquire() as connection:
        await erase_author(connection, "acme", "Jane Doe")
    await number_events(pool)
    changed, _ = await rows(exports, content="runs", updated_since=position)
    assert [(run["run_id"], run["author"], run["revision"]) for run in changed] == [("erased", None, 1)]


async def test_increment_contains_changed_and_deleted_runs_only(exports: Exports) -> None:
    for run_id in ("unchanged", "gone", "corrected"):
        await ingest(exports, run_id)
    await number_events(exports.api.store.pool)
    complete, position = await rows(exports, content="runs")
    assert len(complete) == 3
    assert ((await rows(exports, content="runs", updated_since=position))[0]) == []
    await ingest(exports, "imported", notify=False, time="2020-01-01T00:00:00Z")
    await exports.api.store.ingest(run_event("corrected", [result("b")], time="2026-05-20T12:00:01Z"))
    assert (await exports.api.send("DELETE", "/v1/runs/gone")).status == 204
    changed, following = await rows(exports, content="runs", updated_since=position)
    assert [(row["run_id"], row["deleted"], row["failed"]) for row in changed] == [
        ("corrected", False, 0), ("imported", False, 1), ("gone", True, None),
    ]  # fmt: skip
    results, _ = await rows(exports, updated_since=position)
    assert {row["run_id"] for row in results} == {"corrected", "imported"}
    assert len(results) == 4
    await number_events(exports.api.store.pool)
    assert len((await rows(exports, content="runs", updated_since=following))[0]) == 3  # numbered after this export
    _, last = await rows(exports, content="runs", updated_since=following)
    assert ((await rows(exports, content="runs", updated_since=last))[0]) == []


async def test_project_and_times_restrict_an_increment(exports: Exports) -> None:
    await ingest(exports, "other", project_id="other")
    await ingest(exports, "old", time="2020-01-01T00:00:00Z")
    await ingest(exports, "new")
    filters = {"project_id": "shop", "from": "2026-01-01"}
    found, _ = await rows(exports, content="runs", updated_since="0", filter=filters)
    assert [row["run_id"] for row in found] == ["new"]
    await exports.api.send("DELETE", "/v1/runs/other")
    assert [row["run_id"] for row in (await rows(exports, content="runs", updated_since="0", filter=filters))[0]] == [
        "new"
    ]
    key = (await exports.api.make_key("engineer", project_id="other")).key
    job = await exports.request("csv", content="runs", updated_since="0", key=key)
    assert job["filter"] == {"project_id": "other"}


async def test_runs_without_results_are_exported(exports: Exports) -> None:
    await exports.api.store.ingest(run_event("empty", []))
    assert [row["run_id"] for row in (await rows(exports, content="runs"))[0]] == ["empty"]


async def test_changes_without_notification_are_not_in_the_event_list(exports: Exports) -> None:
    await ingest(exports, "imported", notify=False)
    await exports.api.send("DELETE", "/v1/runs/imported")
    await number_events(exports.api.store.pool)
    assert await exports.api.list_all("/v1/events") == []
    assert await exports.api.store.pool.fetchval("SELECT count(*) FROM events WHERE number IS NOT NULL") == 2
    _, position = await rows(exports)
    assert await exports.api.list_all("/v1/events", {"after": position}) == []


INVALID_REQUESTS: Final[tuple[tuple[dict[str, Any], str], ...]] = (
    ({"content": "cases"}, "content"),
    ({"content": "runs", "columns": ["suite"]}, "columns"),
    ({"columns": ["revision"]}, "columns"),
    ({"content": "runs", "filter": {"status": ["failed"]}}, "filter.status"),
    ({"updated_since": "0", "filter": {"branch": "main"}}, "filter.branch"),
    ({"updated_since": "0", "filter": {"status": "failed"}}, "filter.status"),
    ({"updated_since": "yesterday"}, "updated_since"),
    ({"updated_since": f"evt_{'f' * 32}"}, "updated_since"),
    ({"updated_since": "2026-05-20"}, "updated_since"),
)


async def test_invalid_request_names_the_field(exports: Exports) -> None:
    for body, param in INVALID_REQUESTS:
        response = await exports.request(status=400, **body)
        assert response["error"]["param"] == param, body


async def test_position_before_deleted_events_is_gone(exports: Exports) -> None:
    await ingest(exports, "run_1")
    await number_events(exports.api.store.pool)
    queued = await exports.request("csv", updated_since="0")
    await exports.api.store.pool.execute("UPDATE organizations SET last_pruned_event_number = 1")
    error = (await exports.request("csv", 410, updated_since="0"))["error"]
    assert (error["code"], error["message"]) == (
        "gone",
        "updated_since: events that follow this position were deleted, because the service keeps events for 30 days;"
        " start again without updated_since, and delete the copy",
    )
    assert (await exports.request("csv", 410, updated_since=f"evt_{'0' * 32}"))["error"]["code"] == "gone"
    async with exports.running_worker():
        job = await exports.finished(queued["id"], or_failed=True)
    assert job["error"] == "updated_since: later events were deleted; export all runs, without updated_since"


async def test_position_stays_valid_until_a_following_event_is_deleted(exports: Exports) -> None:
    """An organization without events for 30 days needs no new copy."""
    await ingest(exports, "run_1")
    await number_events(exports.api.store.pool)
    _, position = await rows(exports)
    await exports.api.store.pool.execute(
        "UPDATE organizations SET last_pruned_event_number = (SELECT max(number) FROM events); DELETE FROM events"
    )
    assert await rows(exports, updated_since=position, content="runs") == ([], position.split("_")[-1])
    await ingest(exports, "run_2")
    await number_events(exports.api.store.pool)
    assert [row["run_id"] for row in (await rows(exports, updated_since=position, content="runs"))[0]] == ["run_2"]


async def test_position_that_a_failover_has_lost_is_gone(exports: Exports) -> None:
    await ingest(exports, "run_1")
    await number_events(exports.api.store.pool)
    _, position = await rows(exports)
    await exports.api.store.pool.execute("DELETE FROM events")
    for lost in (position, position.split("_")[-1]):
        error = (await exports.request("csv", 410, updated_since=lost))["error"]
        assert error["message"].startswith("updated_since: a failover or a restored backup has lost the event")
