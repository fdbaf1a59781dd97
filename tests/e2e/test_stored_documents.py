"""JSON documents in the database that another version of the service wrote, as during a rolling upgrade.

A task whose document can't be read fails with a reason, or waits for another worker. The other tasks continue.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from service.exports import run_export
from service.exports.model import RETRY_DELAYS
from service.reports import ingest_reports
from service.settings import Settings
from service.tasks.model import EXPORTS
from tests.consumers.test_relay import eventually, has_outbox_messages, relaying
from tests.exporting import exporting
from tests.fixtures.broker import Broker
from tests.report_api import PASSING, Reports, new_ingester, running_ingester, serving_reports
from tests.run_events import result, run_event
from tests.stored import Store, open_store

UNREADABLE_UPLOADS = {
    "unknown field": {"added": 1},
    "unknown encoding": {"encoding": "br"},
    "unknown field of a file": {"reports": [{"path": "inbox/1/a/b", "added": 1}]},
    "missing field of a file": {"reports": [{"path": "inbox/1/a/b"}]},
    "no files": {"reports": []},
    "other type": {"reports": 5},
    "unknown field of the run": {"run": {"added": 1}},
}
UNREADABLE_EXPORTS = {
    "unknown format": ({"format": "xlsx"}, "format: this version doesn't support xlsx"),
    "unknown compression": ({"compression": "br"}, "format: this version doesn't support csv with br"),
    "other type": ({"format": 5}, "format: must be a string for this version"),
    "unknown filter": ({"filter": {"added": 1}}, "filter: unknown filters: added"),
    "unknown status": ({"filter": {"status": ["broken"]}}, "filter: "),
    "other type of a filter": ({"filter": {"from": {"added": 1}}}, "filter: "),
    "unknown column": ({"columns": ["id", "added"]}, "columns: this version doesn't support added"),
}


async def change_upload(store: Store, receipt: Any, changes: Any) -> None:
    await store.pool.execute("UPDATE receipts SET upload = upload || $2 WHERE receipt_id = $1", receipt["id"], changes)


def ingester_of(reports: Reports) -> ingest_reports.ReportIngester:
    return new_ingester(Settings(artifacts_url=reports.api.resources.settings.artifacts_url), reports.api.store.pool)


@pytest.mark.parametrize("name", UNREADABLE_UPLOADS)
async def test_unreadable_upload_is_rejected_with_a_reason_and_the_next_is_stored(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(ingest_reports, "WORKER_ERROR_WAITS", [timedelta(0)] * 3)
    monkeypatch.setattr(ingest_reports, "RETRY_WAITS", [timedelta(0)] * 3)
    async with serving_reports(database_url, tmp_path) as reports:
        unreadable, good = await reports.send(PASSING, "unreadable"), await reports.send(PASSING, "good")
        await change_upload(reports.api.store, unreadable, UNREADABLE_UPLOADS[name])
        async with running_ingester(reports, ingester_of(reports), slots=1):
            assert (await reports.wait_until_finished(good))["status"] == "stored"
            rejected = await reports.wait_until_finished(unreadable)
    assert rejected["status"] == "rejected"
    assert rejected["problems"][0]["reason"].startswith(("internal_error: upload: this version", "invalid: "))


async def test_unreadable_upload_waits_for_a_worker_that_can_read_it(database_url: str, tmp_path: Path) -> None:
    async with serving_reports(database_url, tmp_path) as reports:
        sent = await reports.send(PASSING)
        await change_upload(reports.api.store, sent, {"added": 1})
        ingester = ingester_of(reports)
        leased = await ingester.lease()
        assert leased
        assert (await ingester.ingest(leased)).status == "queued"
        problem = (await reports.api.get(f"/v1/receipts/{sent['id']}"))["problems"][0]["reason"]
        assert "added; the report is queued for another attempt" in problem
        await reports.api.store.pool.execute("UPDATE receipts SET upload = upload - 'added', due_at = now()")
        async with running_ingester(reports, ingester):
            assert (await reports.wait_until_finished(sent))["status"] == "stored"


async def test_upload_without_optional_fields_is_stored(database_url: str, tmp_path: Path) -> None:
    async with serving_reports(database_url, tmp_path) as reports:
        sent = await reports.send(PASSING)
        await reports.api.store.pool.execute(
            "UPDATE receipts SET upload = upload - '{encoding,attachments,is_reference,event_at}'::text[]"
        )
        async with running_ingester(reports, ingester_of(reports)):
            assert (await reports.wait_until_finished(sent))["status"] == "stored"


async def test_abandoned_reports_are_rejected_although_one_is_unreadable(database_url: str, tmp_path: Path) -> None:
    async with serving_reports(database_url, tmp_path) as reports:
        sent = [await reports.send(PASSING, run_id) for run_id in ("unreadable", "good")]
        await change_upload(reports.api.store, sent[0], {"reports": 5})
        await reports.api.store.pool.execute(
            "UPDATE receipts SET status = 'processing', claim = gen_random_uuid(), attempt_count = 4,"
            " lease_until = now() - interval '1 s'"
        )
        await ingester_of(reports).reject_abandoned()
        for receipt in sent:
            assert (await reports.wait_until_finished(receipt))["status"] == "rejected"


@pytest.mark.slow
@pytest.mark.parametrize("name", UNREADABLE_EXPORTS)
async def test_unreadable_export_fails_with_a_reason_and_the_next_succeeds(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    changes, reason = UNREADABLE_EXPORTS[name]
    monkeypatch.setattr(run_export, "RETRY_DELAYS", [timedelta(0)] * len(RETRY_DELAYS))
    async with exporting(database_url, tmp_path.as_uri()) as exports:
        await exports.api.store.ingest(run_event("run_1", [result("pays")]))
        unreadable = await exports.request()
        await exports.api.store.pool.execute("UPDATE exports SET request = request || $1", changes)
        good = await exports.request()
        async with exports.running_worker():
            failed, succeeded = await exports.finished(unreadable["id"]), await exports.finished(good["id"])
        assert (failed["status"], succeeded["status"]) == ("failed", "succeeded")
        assert failed["error"].startswith(reason)


async def test_abandoned_exports_fail_although_one_is_unreadable(database_url: str, tmp_path: Path) -> None:
    async with exporting(database_url, tmp_path.as_uri()) as exports:
        requested = [await exports.request() for _ in range(2)]
        await exports.api.store.pool.execute(
            "UPDATE exports SET request = CASE export_id WHEN $1 THEN '{\"format\": 5}' ELSE request END,"
            " status = 'running', claim = gen_random_uuid(), attempt_count = 100, lease_until = now() - interval '1 s'",
            requested[0]["id"],
        )
        await exports.exporter.fail_abandoned()
        assert [(await exports.job(job["id"]))["status"] for job in requested] == ["failed", "failed"]


async def test_file_of_an_unknown_format_returns_a_conflict(database_url: str, tmp_path: Path) -> None:
    async with exporting(database_url, tmp_path.as_uri()) as exports:
        await exports.api.store.ingest(run_event("run_1", [result("pays")]))
        job = await exports.run()
        await exports.api.store.pool.execute('UPDATE exports SET request = request || \'{"format": "xlsx"}\'')
        error = await exports.api.error(f"/v1/results/export/{job['id']}/file", 409)
        assert "this version doesn't support xlsx" in error["message"]


@pytest.mark.parametrize("payload", ["null", "[1]", '"text"', '{"v": 99, "added": {}}'])
async def test_relay_publishes_the_messages_after_an_unknown_one(
    broker: Broker, database_url: str, payload: str
) -> None:
    async with open_store(database_url) as store:
        for queue in ("results.added", EXPORTS):
            await store.pool.execute("INSERT INTO outbox (queue, payload) VALUES ($1, $2::text::jsonb)", queue, payload)
        async with relaying(store, broker):
            await eventually(has_outbox_messages(store, 1))
        assert await broker.depth(broker.topology.queue(EXPORTS)) == 1


async def test_run_with_a_field_of_a_later_version_is_merged(database_url: str) -> None:
    async with open_store(database_url) as store:
        await store.ingest(run_event("run_1", [result("pays")], branch="main"))
        await store.pool.execute("UPDATE runs SET field_versions = field_versions || $1", {"added": 1})
        [outcome] = await store.ingest(run_event("run_1", [result("ships")], time="2026-05-20T13:00:00Z", branch="dev"))
        assert outcome.status == "stored"
        run = await store.run()
        assert run
        assert (run["branch"], run["field_versions"]["added"]) == ("dev", 1)
