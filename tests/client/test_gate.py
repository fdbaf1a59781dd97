"""The gate waits for a run, prints its failures, and decides with its exit code whether a CI job passes."""

import asyncio
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from service.client import runs
from service.client.gate import BLOCKED, PASSED, TIMED_OUT, gate
from service.client.http import ServerError, open_server
from service.client.runs import report_warnings
from service.settings import Settings
from tests.api.served import Api, serve
from tests.report_api import (
    PASSING,
    new_ingester,
    running_ingester,
    serving_reports,
    serving_reports_with_ingester,
)  # fmt: skip
from tests.run_events import result, run_event

FAILING = result("pays | cash", "failed", failure={"message": "expected 200 got 503\nat line 3"})
FLAKY = result("logs in", attempts=[{"status": "failed", "failure": {"message": "no"}}, {"status": "passed"}])
FAILING_REPORT = b'<testsuite name="shop"><testcase name="pays"><failure message="no"/></testcase></testsuite>'


def at(minute: int) -> str:
    return f"2026-05-20T11:{minute:02}:00Z"


@pytest.fixture
async def api(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    async with serve(database_url) as served:
        yield served


def url(api: Api) -> str:
    return str(api.http.make_url("/"))


async def run_gate(*arguments: Any, completes: bool = False) -> int:
    return await asyncio.to_thread(partial(gate, *arguments, completes=completes))


async def decide(
    api: Api,
    run_id: str = "run_1",
    timeout_s: float = 10,
    *,
    completes: bool = False,
    gate_name: str = "",
    **policy: Any,
) -> int:  # fmt: skip
    rules: dict[str, Any] = {"gate": gate_name} if gate_name else {"policy": policy} if policy else {}
    return await run_gate(url(api), api.key, run_id, rules, timeout_s, completes=completes)


@pytest.mark.parametrize(
    ("results", "policy", "code"),
    [
        ([result()], {}, PASSED),
        ([FAILING], {}, BLOCKED),
        ([FAILING], {"max_failures": 1}, PASSED),
        ([FAILING, result("another", "error")], {"max_failures": 1}, BLOCKED),
        ([FAILING], {"max_new_failures": 0}, BLOCKED),
        ([FLAKY], {}, PASSED),
        ([FLAKY], {"max_flaky": 0}, BLOCKED),
        ([result("skips", "skipped")], {}, BLOCKED),
        ([result()], {"min_results": 2}, BLOCKED),
        ([result(), FAILING], {"min_pass_rate": 0.5}, PASSED),
    ],
)
async def test_exit_code_follows_the_policy(api: Api, results: list[Any], policy: Any, code: int) -> None:
    await api.store.ingest(run_event(results=results))
    assert await decide(api, **policy) == code


async def test_named_gate_decides(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    await put_gate(api, "release", max_failures=1)
    await api.store.ingest(run_event(results=[FAILING]))
    assert await decide(api, gate_name="release") == PASSED
    assert capsys.readouterr().out.startswith("passed by gate release version 1: run run_1 (failed)\n")


async def test_gate_default_decides_without_rules(api: Api) -> None:
    await api.store.ingest(run_event(results=[FAILING]))
    assert await decide(api) == BLOCKED
    await put_gate(api, "default", max_failures=1)
    assert await decide(api) == PASSED


async def test_unknown_gate_is_an_error(api: Api) -> None:
    await api.store.ingest(run_event())
    with pytest.raises(ServerError, match="404"):
        await decide(api, gate_name="nothing")


async def test_waived_decision_passes(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    await put_gate(api, "release", max_failures=0)
    await api.store.ingest(run_event(results=[FAILING]))
    assert await decide(api, gate_name="release") == BLOCKED
    (decision,) = (await api.get("/v1/decisions"))["data"]
    await api.send("POST", f"/v1/decisions/{decision['id']}/waiver", json={"reason": "hotfix"})
    assert await decide(api, gate_name="release") == PASSED
    assert "waived: hotfix" in capsys.readouterr().out


async def test_reason_of_a_waiver_is_no_markup(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    await put_gate(api, "release", max_failures=0)
    await api.store.ingest(run_event(results=[FAILING]))
    response = await api.send("POST", "/v1/runs/run_1/decisions", json={"gate": "release"})
    waiver = f"/v1/decisions/{(await response.json())['id']}/waiver"
    await api.send("POST", waiver, json={"reason": "@octocat <b>agreed</b>"})
    assert await decide(api, gate_name="release") == PASSED
    assert "`waived: @octocat <b>agreed</b>`" in (tmp_path / "summary.md").read_text()


async def put_gate(api: Api, name: str, **policy: Any) -> None:
    response = await api.send("PUT", f"/v1/gates/{name}", json={"policy": policy})
    assert response.status in (200, 201), await response.text()


@pytest.mark.parametrize(("status", "code"), [("canceled", BLOCKED), ("error", BLOCKED), ("failed", BLOCKED)])
async def test_run_with_a_failing_status_is_blocked(api: Api, status: str, code: int) -> None:
    await api.store.ingest(run_event(status=status))
    assert await decide(api, max_failures=9) == code


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
    assert await decide(api, timeout_s=1) == TIMED_OUT
    assert ("isn't complete" if exists else "doesn't exist") in capsys.readouterr().err


async def test_gate_prints_the_failures_with_their_evidence(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        known = result("refunds", "failed", failure={"message": "timeout"})
        results = [known, result("pays | cash")]
        await api.store.ingest(run_event(f"main_{number}", results, completed_at=at(number), branch="main"))
    await api.store.ingest(
        run_event(
            "release/7", completed_at=at(9), branch="fix", base_branch="main", ci_url="https://ci.example.com/7",
            results=[FAILING, result("refunds", "failed", failure={"message": "timeout"}), FLAKY],
        )
    )  # fmt: skip
    assert await decide(api, "release/7", max_flaky=0) == BLOCKED
    assert capsys.readouterr().out.splitlines() == [
        "blocked: run release/7 (failed)",
        "1 passed, 2 failed, 1 flaky",
        "compared with run main_2 on main",
        "New failures: 1",
        "  auth.login > pays | cash",
        "    expected 200 got 503",
        "    passed in the last 3 runs on main",
        "Known failures: 1",
        "  auth.login > refunds",
        "    timeout",
        "    also failed in the last 3 runs on main, since run main_0",
        "Flaky results, passed after a failed attempt: 1",
        "  auth.login > logs in",
        "    no",
        "flaky results: 1, at most 0 allowed",
        f"run      {url(api)}v1/runs/release%2F7",
        "ci       https://ci.example.com/7",
    ]


async def test_gate_writes_the_summary_of_a_github_step(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("existing text\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    await api.store.ingest(run_event(results=[FAILING]))
    await decide(api)
    written = summary.read_text()
    assert written.startswith("existing text\n### Blocked\n")
    assert "- `auth.login > pays | cash`\n  <br>`expected 200 got 503`\n" in written
    assert written.endswith("`failures: 1, at most 0 allowed`\n")


async def test_gate_in_a_github_job_prints_annotations(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    await api.store.ingest(run_event(results=[FAILING | {"file": "tests/shop.py", "line": 7}]))
    await decide(api)
    assert "::error file=tests/shop.py,line=7,title=auth.login > pays | cash::expected 200 got 503" in (
        capsys.readouterr().out.splitlines()
    )


async def test_gate_completes_the_run_of_a_pipeline(api: Api) -> None:
    await api.store.ingest(run_event(final=False))
    assert await decide(api, timeout_s=1) == TIMED_OUT
    assert await decide(api, completes=True) == PASSED
    assert (await api.get("/v1/runs/run_1"))["complete"] is True


async def test_gate_does_not_complete_a_run_with_missing_shards(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    await api.store.ingest(run_event(shard=1, expected_shards=2))
    assert await decide(api, timeout_s=1, completes=True) == TIMED_OUT
    assert "isn't complete after 1 s: run 'run_1' can't be completed" in capsys.readouterr().err


async def test_gate_waits_for_reports_of_a_pipeline_before_it_completes_the_run(
    database_url: str, tmp_path: Path
) -> None:
    async with serving_reports(database_url, tmp_path) as reports:
        await reports.api.store.ingest(run_event(final=False))
        await reports.post(FAILING_REPORT, params={"final": "false"})
        waiting = asyncio.create_task(decide(reports.api, completes=True))
        await asyncio.sleep(1)
        assert not waiting.done()
        settings = Settings(artifacts_url=(tmp_path / "files").as_uri())
        async with running_ingester(reports, new_ingester(settings, reports.api.store.pool)):
            assert await waiting == BLOCKED


async def test_long_names_are_not_truncated(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    name = "test_with_" + "a_very_long_name_" * 10
    await api.store.ingest(run_event(results=[result(name, "failed")]))
    await decide(api)
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert name in shown


async def test_gate_prints_what_it_waits_for(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    await decide(api, timeout_s=1)
    assert capsys.readouterr().err.startswith("run run_1 doesn't exist yet; waiting for up to 1 s\n")


async def test_unwritable_summary_does_not_change_the_exit_code(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "/proc/no/such/summary")
    await api.store.ingest(run_event())
    assert await decide(api) == PASSED


async def test_url_can_end_with_the_version_of_the_api(api: Api) -> None:
    await api.store.ingest(run_event())
    assert await run_gate(f"{url(api)}v1/", api.key, "run_1", {}, 5) == PASSED


async def test_response_of_another_server_is_an_error() -> None:
    async def not_found(_: web.Request) -> web.Response:
        return web.Response(status=404, text="<h1>not here</h1>")

    app = web.Application()
    app.router.add_get("/{path:.*}", not_found)
    async with TestServer(app) as server:
        with pytest.raises(ServerError, match="responds with 404 Not Found, which isn't a Results API response"):
            await run_gate(str(server.make_url("/")), "zof_1", "run_1", {}, 5)


async def test_gate_prints_that_it_retries(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ServerError, match="doesn't respond"):
        await run_gate("http://127.0.0.1:9", "zof_1", "run_1", {}, 2)
    assert "; retrying for up to 2 s" in capsys.readouterr().err


async def test_invalid_key_is_an_error(api: Api) -> None:
    with pytest.raises(ServerError, match="401"):
        await run_gate(url(api), "zof_wrong", "run_1", {}, 5)


@pytest.mark.slow
async def test_command_exits_with_the_code_of_the_gate(api: Api) -> None:
    await api.store.ingest(run_event(results=[FAILING]))
    assert await command(api, "--run-id", "run_1") == BLOCKED
    assert await command(api, "--run-id", "run_1", "--max-failures", "1") == PASSED
    assert await command(api, "--run-id", "run_2", "--timeout", "0") == TIMED_OUT
    assert await command(api, "--run-id", "run_1", key="zof_wrong") == 3


async def test_closed_stdout_does_not_change_the_exit_code(api: Api) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        await api.store.ingest(run_event())
        assert await command(api, "--run-id", "run_1", stdout=writing) == PASSED
    finally:
        os.close(writing)


@pytest.mark.slow
async def test_name_that_the_terminal_cannot_show_does_not_change_the_exit_code(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")  # of a CI job on Windows
    await api.store.ingest(run_event(results=[FAILING | {"name": "支払う"}]))
    process = await start(api, "--run-id", "run_1", "--max-failures", "1", stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == PASSED
    assert b"  auth.login > \\u652f\\u6255\\u3046" in out


@pytest.mark.slow
async def test_interrupted_command_exits_with_130(api: Api) -> None:
    process = await start(api, "--run-id", "run_1", stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    assert b"waiting" in await asyncio.wait_for(process.stderr.readline(), 20)
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), 20) == 130


async def command(api: Api, *arguments: str, key: str | None = None, stdout: int = asyncio.subprocess.DEVNULL) -> int:
    return await (await start(api, *arguments, key=key, stdout=stdout)).wait()


async def start(
    api: Api, *arguments: str, key: str | None = None, stdout: int | None = None, stderr: int | None = None
) -> asyncio.subprocess.Process:
    environment = {**os.environ, "RESULTS_URL": url(api), "RESULTS_API_KEY": key or api.key}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", "gate", *arguments, env=environment, stdout=stdout, stderr=stderr
    )


@pytest.mark.parametrize("exists", [True, False])
async def test_gate_stops_at_a_rejected_report(
    database_url: str, tmp_path: Path, exists: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving_reports_with_ingester(database_url, tmp_path) as reports:
        if exists:
            await reports.api.store.ingest(run_event(shard=1, expected_shards=2))
        receipt = await reports.ingest(b"<testsuite>", params={"shard": "2/2"})
        assert await decide(reports.api, timeout_s=600) == TIMED_OUT
    shown = capsys.readouterr().err
    assert f"its report was rejected ({receipt['id']}): malformed_report: " in shown


async def test_gate_waits_if_a_later_report_replaces_a_rejected_one(database_url: str, tmp_path: Path) -> None:
    async with serving_reports_with_ingester(database_url, tmp_path) as reports:
        await reports.ingest(b"<testsuite>")
        await reports.ingest(PASSING, params={"final": "false"})
        assert await decide(reports.api, timeout_s=1) == TIMED_OUT
        await reports.ingest(PASSING.replace(b"pays", b"sells"))
        assert await decide(reports.api, timeout_s=10) == PASSED


async def test_all_pages_of_receipts_are_checked(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_RECEIPTS_PAGE", 1)
    async with serving_reports_with_ingester(database_url, tmp_path) as reports:
        rejected = [(await reports.ingest(body))["id"] for body in (b"<testsuite>", b"<testsuites>")]
        with open_server(url(reports.api), reports.api.key) as server:
            [warning] = await asyncio.to_thread(list, report_warnings(server, "run_1"))
            assert warning.endswith(f"results can be missing: {', '.join(rejected[::-1])}")


async def test_gate_with_a_key_that_cannot_read_receipts_waits(api: Api) -> None:
    viewer = (await api.make_key("viewer")).key
    assert await run_gate(url(api), viewer, "run_1", {}, 1) == TIMED_OUT


async def test_gate_prints_no_control_characters(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    failure = {"message": "\x1b[31mno\x1b[0m\x07"}
    await api.store.ingest(
        run_event(results=[result("\x1b]0;title\x07pays\x08", "failed", failure=failure)], ci_url="https://ci/\x1b[2J")
    )
    await decide(api)
    captured = capsys.readouterr()
    assert "pays" in captured.out
    assert not set(captured.out + captured.err) & {"\x1b", "\x07", "\x08"}


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
