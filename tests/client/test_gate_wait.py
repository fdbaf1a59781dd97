"""The gate waits for a complete run and its reports, and completes the run of a pipeline."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from service.client import runs
from service.client import runs as client_runs
from service.client.gate import GateRequest
from service.client.gate_outcomes import BLOCKED, PASSED
from service.client.http import JsonObject, ServerError
from service.client.runs import INCOMPLETE, list_receipts
from service.client.selections import Selection
from service.client.servers import open_server
from service.settings import Settings
from tests.client.gates import decide, run_gate, url
from tests.report_api import (
    PASSING,  # fmt: skip
    new_ingester,  # fmt: skip
    running_ingester,  # fmt: skip
    serving_reports,  # fmt: skip
    serving_reports_with_ingester,  # fmt: skip
)
from tests.run_events import result, run_event
from tests.served import Api

pytestmark = pytest.mark.slow

FAILING_REPORT = b'<testsuite name="shop"><testcase name="pays"><failure message="no"/></testcase></testsuite>'


async def test_gate_waits_for_all_shards(api: Api) -> None:
    waiting = asyncio.create_task(decide(api))
    await asyncio.sleep(0.3)
    await api.store.ingest(run_event(results=[result("one")], shard=1, expected_shards=2))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await api.store.ingest(run_event(results=[result("two", "failed")], shard=2, expected_shards=2))
    assert await waiting == BLOCKED


@pytest.mark.parametrize("exists", [True, False])
async def test_gate_stops_after_the_timeout(api: Api, exists: bool, capsys: pytest.CaptureFixture[str]) -> None:
    if exists:
        await api.store.ingest(run_event(shard=1, expected_shards=2))
    assert await decide(api, timeout_s=1) == INCOMPLETE
    assert ("isn't complete" if exists else "doesn't exist") in capsys.readouterr().err


EXPECTATIONS: dict[str, dict[str, Any]] = {
    "": {"final": False},
    "1 of 2 shards arrived. Shard 2 is missing": {"shard": 1, "expected_shards": 2},
    "1 of 3 results arrived": {"expected_results": 3},
    "2 of 3 jobs sent no results: api; worker": {"part": "ui", "attempt": 1, "final": False},
}


@pytest.mark.parametrize(("lacking", "run"), EXPECTATIONS.items())
async def test_gate_names_what_an_incomplete_run_lacks(
    api: Api, lacking: str, run: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for job in ("api", "ui", "worker") if "part" in run else ():
        job_fields: dict[str, Any] = {"branch": "main", "time": "2026-05-20T10:00:00Z", "part": job, "attempt": 1}
        await api.store.ingest(run_event("run_0", [result(f"{job}_test")], **job_fields))
    await api.store.ingest(run_event("run_1", [result("ui_test")], branch="main", time="2026-05-20T11:00:00Z", **run))
    assert await decide(api, timeout_s=0) == INCOMPLETE
    detail = f": {lacking}" if lacking else ""
    assert capsys.readouterr().err == f"run run_1 isn't complete after 0 s{detail}\n1 passed\n"
    assert await decide(api, timeout_s=0, as_json=True) == INCOMPLETE
    assert f'"problem":"isn\'t complete after 0 s{detail}"' in capsys.readouterr().out


async def test_flaky_result_of_an_incomplete_run_counts_once(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    flaky = result(attempts=[{"status": "failed"}, {"status": "passed"}])
    await api.store.ingest(run_event(results=[flaky], expected_results=3))
    assert await decide(api, timeout_s=0) == INCOMPLETE
    assert ": 1 of 3 results arrived\n1 passed (1 flaky)\n" in capsys.readouterr().err


async def test_gate_prints_what_it_waits_for(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    await decide(api, timeout_s=1)
    assert capsys.readouterr().err.startswith("run run_1 doesn't exist yet; waiting for up to 1 s\n")


async def test_gate_completes_the_run_of_a_pipeline(api: Api) -> None:
    await api.store.ingest(run_event(final=False))
    assert await decide(api, timeout_s=1) == INCOMPLETE
    assert await decide(api, pipeline="run_1") == PASSED
    assert (await api.get("/v1/runs/run_1"))["complete"] is True


async def test_gate_does_not_complete_a_run_with_missing_shards(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    await api.store.ingest(run_event(shard=1, expected_shards=2))
    assert await decide(api, timeout_s=1, pipeline="run_1") == INCOMPLETE
    assert (
        "isn't complete after 1 s: run 'run_1' can't be completed: 1 of 2 shards arrived. Shard 2 is missing"
        in capsys.readouterr().err
    )


async def test_gate_of_a_pipeline_without_reports_states_this(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert await decide(api, timeout_s=0, pipeline="run_1") == INCOMPLETE
    assert capsys.readouterr().err.endswith(
        "pipeline run_1 has no run that the key can read after 0 s: no report of it was received\n"
    )


async def test_gate_waits_for_reports_of_a_pipeline_before_it_completes_the_run(
    database_url: str, tmp_path: Path
) -> None:
    async with serving_reports(database_url, tmp_path) as reports:
        await reports.api.store.ingest(run_event(final=False))
        await reports.post(FAILING_REPORT, params={"final": "false"})
        waiting = asyncio.create_task(decide(reports.api, pipeline="run_1"))
        await asyncio.sleep(1)
        assert not waiting.done()
        settings = Settings(artifacts_url=(tmp_path / "files").as_uri())
        async with running_ingester(reports, new_ingester(settings, reports.api.store.pool)):
            assert await waiting == BLOCKED


@pytest.mark.parametrize("exists", [True, False])
async def test_gate_stops_at_a_rejected_report(
    database_url: str, tmp_path: Path, exists: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving_reports_with_ingester(database_url, tmp_path) as reports:
        if exists:
            await reports.api.store.ingest(run_event(shard=1, expected_shards=2))
        receipt = await reports.ingest(b"<testsuite>", params={"shard": "2/2"})
        assert await decide(reports.api, timeout_s=600) == INCOMPLETE
    shown = capsys.readouterr().err
    first, rejected, advice, *_ = shown.splitlines()
    assert first.startswith(
        "run run_1 lacks results: a report was rejected, and no later report of the same shard and "
    )
    assert first.endswith(" was accepted:")
    assert rejected.startswith(f"  {receipt['id']} (shard 2): malformed_report: ")
    assert advice == "  Send an accepted report of this shard and variant"


async def test_each_problem_of_rejected_reports_is_printed_on_one_line(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def reject(receipt_id: str, part: str, *reasons: str) -> JsonObject:
        problems = [{"index": None, "name": None, "reason": reason} for reason in reasons]
        return {"id": receipt_id, "status": "rejected", "received_at": "", "part": part, "problems": problems}

    rejected = [reject("rcp_1", "unit", "a.xml: bad", "b.xml:\nforged"), reject("rcp_2", "web", "::error::c.xml")]
    monkeypatch.setattr(runs, "list_receipts", lambda *_, **__: rejected)
    assert await decide(api, as_json=True) == INCOMPLETE
    captured = capsys.readouterr()
    lines = [
        "  rcp_1 (unit): a.xml: bad,", "  b.xml: forged;", "  rcp_2 (web): ::error::c.xml.",
        "  Send an accepted report of this shard and variant",
    ]  # fmt: skip
    assert captured.err.splitlines()[1:5] == lines
    [run] = json.loads(captured.out)["runs"]
    assert run["problem"].endswith(f" was accepted: {' '.join(line.strip() for line in lines)}")


async def test_gate_of_a_pipeline_stops_at_a_rejected_report_of_another_job(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving_reports_with_ingester(database_url, tmp_path) as reports:

        async def send(body: bytes, os: str) -> str:
            receipt = await reports.ingest(body, params={"variant": f"os:{os}", "final": "false"})
            return str(receipt["id"])

        rejected = await send(b"<testsuite>", "linux")
        await send(PASSING, "mac")
        assert await decide(reports.api, timeout_s=600, pipeline="run_1") == INCOMPLETE
        shown = capsys.readouterr().err
        assert f"was accepted:\n  {rejected} (os: linux): malformed_report: " in shown
        assert "Send an accepted report of this shard and variant" in shown
        assert not (await reports.api.get("/v1/runs/run_1"))["complete"]

        await reports.api.send("POST", "/v1/runs/run_1/complete")
        assert await decide(reports.api, timeout_s=600, pipeline="run_1") == INCOMPLETE

        await send(PASSING, "linux")
        assert await decide(reports.api, pipeline="run_1") == PASSED
        assert f"results can be missing: {rejected}" in capsys.readouterr().err


async def test_gate_states_how_to_replace_a_malformed_report_whose_part_is_unknown(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = b'"results": [{"name": "a", "status": "passed"}'
    async with serving_reports_with_ingester(database_url, tmp_path) as reports:
        await reports.ingest(b"{" + results, params={"final": "false"})
        await reports.ingest(b'{"run": {"shard": 2}, ' + results + b"]}", params={"final": "false"})
        assert await decide(reports.api, timeout_s=600, pipeline="run_1") == INCOMPLETE
        shown = capsys.readouterr().err
        assert "(no shard or variant): malformed_report: " in shown
        assert (
            "Send an accepted report without shard and variant. If only the content of a report states them, " in shown
        )

        await reports.ingest(PASSING, params={"final": "false"})
        assert await decide(reports.api, pipeline="run_1") == PASSED


async def test_rejected_report_counts_after_an_accepted_one(database_url: str, tmp_path: Path) -> None:
    async with serving_reports_with_ingester(database_url, tmp_path) as reports:
        await reports.ingest(b"<testsuite>", params={"final": "false"})
        await reports.ingest(PASSING, params={"final": "false"})
        await reports.ingest(b"<testsuite>", params={"final": "false"})  # the same receipt again
        assert await decide(reports.api, timeout_s=600, pipeline="run_1") == INCOMPLETE


async def test_gate_of_a_pipeline_waits_for_reports_of_a_complete_run(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving_reports(database_url, tmp_path) as reports:
        await reports.api.store.ingest(run_event())
        await reports.send(PASSING, params={"final": "false"})
        assert await decide(reports.api, timeout_s=1) == PASSED
        assert await decide(reports.api, timeout_s=1, pipeline="run_1") == INCOMPLETE
    assert "run run_1 has reports that aren't processed after 1 s" in capsys.readouterr().err


async def test_gate_states_that_the_reports_of_the_run_are_not_processed(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving_reports(database_url, tmp_path) as reports:
        await reports.send(PASSING)
        assert await decide(reports.api, timeout_s=0) == INCOMPLETE
        assert capsys.readouterr().err == (
            f"run run_1 has reports that aren't processed after 0 s. {url(reports.api)}readyz shows whether a consumer"
            " of reports runs\n"
        )


async def test_gate_waits_if_a_later_report_replaces_a_rejected_one(database_url: str, tmp_path: Path) -> None:
    async with serving_reports_with_ingester(database_url, tmp_path) as reports:
        await reports.ingest(b"<testsuite>")
        await reports.ingest(PASSING, params={"final": "false"})
        assert await decide(reports.api, timeout_s=1) == INCOMPLETE
        await reports.ingest(PASSING.replace(b"pays", b"sells"))
        assert await decide(reports.api, timeout_s=10) == PASSED


async def test_all_pages_of_receipts_are_checked(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_runs, "_PAGE", 1)
    async with serving_reports_with_ingester(database_url, tmp_path) as reports:
        rejected = [(await reports.ingest(body))["id"] for body in (b"<testsuite>", b"<testsuites>")]
        with open_server(url(reports.api), reports.api.key) as server:
            listed = await asyncio.to_thread(list_receipts, server, "run_1")
        assert [receipt["id"] for receipt in listed] == rejected[::-1]


async def test_gate_of_a_pipeline_needs_a_key_that_can_read_receipts(api: Api) -> None:
    await api.store.ingest(run_event())
    viewer = (await api.make_key("viewer")).key
    assert await run_gate(url(api), viewer, Selection("run_1"), GateRequest({}), 1) == PASSED
    with pytest.raises(ServerError, match="reports:create"):
        await run_gate(url(api), viewer, Selection(pipeline="run_1"), GateRequest({}), 1)


async def test_gate_with_a_key_that_cannot_read_receipts_waits(api: Api) -> None:
    viewer = (await api.make_key("viewer")).key
    assert await run_gate(url(api), viewer, Selection("run_1"), GateRequest({}), 1) == INCOMPLETE


async def test_gate_warns_if_a_report_replaced_failing_results(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving_reports_with_ingester(database_url, tmp_path) as reports:
        await reports.ingest(FAILING_REPORT)
        await decide(reports.api)
        assert "warning" not in capsys.readouterr().err
        await reports.api.store.pool.execute("UPDATE results SET event_time_offset_s = event_time_offset_s - 60")
        await reports.ingest(PASSING)
        assert await decide(reports.api) == PASSED
    assert "warning: later reports of this run replaced failing results: 1. If several jobs" in capsys.readouterr().err
