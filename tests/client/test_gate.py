"""The gate decides with its exit code whether a CI job passes."""

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from service.client.gate import GateRequest
from service.client.gate_outcomes import BLOCKED, FAILED, PASSED
from service.client.http import Server, ServerError
from service.client.selections import Selection
from tests.client.gates import FAILING, FLAKY, decide, put_gate, run_gate, url
from tests.run_events import result, run_event
from tests.served import Api


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
    assert capsys.readouterr().out.startswith("passed by gate release version 1: failures (1) in run run_1\n")


async def ingest_known_and_quarantined(api: Api, *others: Any) -> None:
    known, excused = result("refunds", "failed"), result("ships", "failed")
    await api.store.ingest(
        run_event("main_1", [known, result("ships")], branch="main", completed_at="2026-05-01T01:00:00Z"),
        run_event("run_1", [known, excused, *others], branch="fix", base_branch="main"),
    )
    quarantine = {"project_id": "shop", "suite": "auth.login", "name": "ships", "reason": "unstable"}
    assert (await api.send("POST", "/v1/quarantines", json=quarantine)).status == 201


async def test_first_line_of_a_run_that_passes_states_its_failures(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    await ingest_known_and_quarantined(api)
    assert await decide(api, max_new_failures=0) == PASSED
    shown = "only known failures (1), quarantined failures (1)"
    assert capsys.readouterr().out.startswith(f"passed: {shown} in run run_1\n")
    assert (tmp_path / "summary.md").read_text().startswith(f"### Passed: `shop`, {shown}\n")
    await ingest_known_and_quarantined(api, FAILING)
    assert await decide(api, max_new_failures=1) == PASSED
    assert capsys.readouterr().out.startswith("passed: new failures (1), known failures (1), quarantined failures (1) ")


@pytest.mark.parametrize(
    ("known", "status", "shown", "title"),
    [
        ("failed", "error", "known failures (1) in run run_1 (error)", "`shop` (error), known failures (1)"),
        ("failed", "failed", "only known failures (1) in run run_1", "`shop`, only known failures (1)"),
        ("error", "error", "only known failures (1) in run run_1", "`shop`, only known failures (1)"),
        ("passed", "passed", "run run_1 (passed)", "`shop`"),
    ],
)
async def test_first_line_of_a_run_that_passes_states_the_status_that_no_result_explains(
    api: Api,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    known: str,
    status: str,
    shown: str,
    title: str,
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    results = [result("refunds", known), result("ships")]
    await api.store.ingest(
        run_event("main_1", results, branch="main", completed_at="2026-05-01T01:00:00Z"),
        run_event("run_1", results, branch="fix", base_branch="main", status=status),
    )
    assert await decide(api, max_new_failures=0) == PASSED
    assert capsys.readouterr().out.startswith(f"passed: {shown}\n")
    assert (tmp_path / "summary.md").read_text().startswith(f"### Passed: {title}\n")


async def test_limits_that_decided_are_named(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    await ingest_known_and_quarantined(api)
    assert await decide(api) == BLOCKED
    shown = capsys.readouterr().out
    assert "\nfailures: 1, at most 0 allowed (max_failures)\nlimits   max_failures: 0 (default); with " in shown
    assert await decide(api, max_new_failures=0, min_pass_rate=0.25) == BLOCKED
    assert "\nlimits   --max-new-failures 0 --min-pass-rate 0.25\n" in capsys.readouterr().out
    assert await decide(api, min_results=1_234_567, min_pass_rate=0.9999999) == BLOCKED
    assert "\nlimits   --min-results 1234567 --min-pass-rate 0.9999999\n" in capsys.readouterr().out
    assert await decide(api, max_new_failures=1_000_000, min_pass_rate=1.0) == BLOCKED
    assert "\nlimits   --max-new-failures 1000000 --min-pass-rate 1\n" in capsys.readouterr().out
    await put_gate(api, "default", max_new_failures=0)
    assert await decide(api) == PASSED
    shown = capsys.readouterr().out
    assert shown.startswith("passed by gate default version 1: only known failures (1), ")
    assert "\nlimits " not in shown


async def test_gate_default_decides_without_rules(api: Api) -> None:
    await api.store.ingest(run_event(results=[FAILING]))
    assert await decide(api) == BLOCKED
    await put_gate(api, "default", max_failures=1)
    assert await decide(api) == PASSED


async def test_unknown_gate_is_an_error(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    await api.store.ingest(run_event())
    assert await decide(api, gate_name="nothing") == FAILED
    assert capsys.readouterr().err == "Error: gate 'nothing' not found (404)\n"


async def test_decision_of_limits_is_recorded_once(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    await api.store.ingest(run_event(results=[FAILING]))
    for _ in range(2):
        assert await decide(api, max_new_failures=0) == BLOCKED
    (decision,) = (await api.get("/v1/decisions"))["data"]
    assert decision["policy"] == {"min_results": 1, "max_new_failures": 0, "max_missing_parts": 0}
    assert f"\ndecision {url(api)}v1/decisions/{decision['id']}\n" in capsys.readouterr().out


@pytest.mark.parametrize("rules", [{"max_failures": 0}, {"gate_name": "release"}, {}])
async def test_decision_is_not_stored_without_the_permission(
    api: Api, rules: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    await put_gate(api, "release", max_failures=0)
    await api.store.ingest(run_event(results=[FAILING]), run_event("run_2"))
    viewer = (await api.make_key("viewer")).key
    assert await decide(api, key=viewer, **rules) == BLOCKED
    assert await decide(api, "run_2", key=viewer, **rules) == PASSED
    assert capsys.readouterr().out.count("\ndecision not stored: this requires the permission reports:create, and") == 2
    assert (await api.get("/v1/decisions"))["data"] == []


@pytest.mark.parametrize(
    "error",
    [
        ServerError("record: is not supported (400)", 400, "invalid_request"),
        ServerError("permission reports:create is required (403)", 403, "forbidden"),
    ],
)
async def test_server_of_an_earlier_version_decides_without_recording(
    api: Api, monkeypatch: pytest.MonkeyPatch, error: ServerError
) -> None:
    post = Server.post

    def post_to_earlier(server: Server, path: str, body: Any = None) -> Any:
        if "record" in body:
            raise error
        return post(server, path, body)

    monkeypatch.setattr(Server, "post", post_to_earlier)
    await api.store.ingest(run_event(results=[FAILING]))
    assert await decide(api, max_failures=0) == BLOCKED


async def test_other_rejection_of_a_policy_is_an_error(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    await api.store.ingest(run_event())
    assert await decide(api, max_failures=-1) == FAILED
    assert "max_failures" in capsys.readouterr().err


async def test_waived_decision_passes(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    await put_gate(api, "release", max_failures=0)
    await api.store.ingest(run_event(results=[FAILING]))
    assert await decide(api, gate_name="release") == BLOCKED
    (decision,) = (await api.get("/v1/decisions"))["data"]
    await api.send("POST", f"/v1/decisions/{decision['id']}/waiver", json={"reason": "hotfix"})
    assert await decide(api, gate_name="release") == PASSED
    assert 'waived by key "test": hotfix' in capsys.readouterr().out


@pytest.mark.parametrize(("status", "code"), [("canceled", BLOCKED), ("error", BLOCKED), ("failed", BLOCKED)])
async def test_run_with_a_failing_status_is_blocked(api: Api, status: str, code: int) -> None:
    await api.store.ingest(run_event(status=status))
    assert await decide(api, max_failures=9) == code


async def test_response_of_another_server_is_an_error() -> None:
    async def not_found(_: web.Request) -> web.Response:
        return web.Response(status=404, text="<h1>not here</h1>")

    app = web.Application()
    app.router.add_get("/{path:.*}", not_found)
    async with TestServer(app) as server:
        with pytest.raises(ServerError, match="responds with 404 Not Found, which isn't a Results API response"):
            await run_gate(str(server.make_url("/")), "zof_1", Selection("run_1"), GateRequest({}), 5)


async def test_gate_prints_that_it_retries(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ServerError, match="doesn't respond"):
        await run_gate("http://127.0.0.1:9", "zof_1", Selection("run_1"), GateRequest({}), 2)
    assert "; retrying for up to 2 s" in capsys.readouterr().err


async def test_invalid_key_is_an_error(api: Api) -> None:
    with pytest.raises(ServerError, match="401"):
        await run_gate(url(api), "zof_wrong", Selection("run_1"), GateRequest({}), 5)


async def test_url_can_end_with_the_version_of_the_api(api: Api) -> None:
    await api.store.ingest(run_event())
    assert await run_gate(f"{url(api)}v1/", api.key, Selection("run_1"), GateRequest({}), 5) == PASSED


async def send_jobs(api: Api, run_id: str, hour: int, *jobs: str) -> None:
    for job in jobs:
        await api.store.ingest(
            run_event(run_id, [result(job)], branch="main", completed_at=f"2026-05-01T{hour:02}:00:00Z", part=job)
        )


async def test_jobs_without_results_block_and_are_named_first(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    await send_jobs(api, "main_1", 1, "api", "cli", "ui")
    await send_jobs(api, "run_1", 2, "api")
    assert await decide(api) == BLOCKED
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["2 of 3 jobs sent no results: cli; ui", "blocked: run run_1 (passed)"]
    await api.store.ingest(run_event(results=[], part="cli", completed_at="2026-05-01T02:00:00Z"))
    await decide(api)
    assert capsys.readouterr().out.splitlines()[0] == "2 of 3 jobs sent no results: cli; ui"
    assert "parts without results: 2, at most 0 allowed (max_missing_parts)" in lines
    assert await decide(api, max_failures=0) == BLOCKED  # also with limits of other rules
    assert await decide(api, allowed_parts=["cli"]) == BLOCKED
    assert await decide(api, allowed_parts=["cli", "u*"]) == PASSED
    assert "2 of 3 jobs sent no results: cli (allowed); ui (allowed)\npassed:" in capsys.readouterr().out
    assert await decide(api, canceled=["ui"]) == BLOCKED
    assert capsys.readouterr().out.startswith("2 of 3 jobs sent no results: cli; ui (canceled)\nblocked:")


async def test_job_of_a_matrix_is_named_as_one_job(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    for run_id, hour, versions in (("main_1", 1, ("3.11", "3.13")), ("run_1", 2, ("3.11",))):
        for version in versions:
            at = f"2026-05-01T{hour:02}:00:00Z"
            event = run_event(run_id, [result("pays")], branch="main", completed_at=at, part="api", shard=2)
            event["data"]["variant"] = {"python": version}
            await api.store.ingest(event)
    assert await decide(api, canceled=["api"]) == BLOCKED
    first = capsys.readouterr().out.splitlines()[0]
    assert first == "1 of 2 jobs sent no results: api (shard 2, python: 3.13, canceled)"
    summary = "**1 of 2 jobs sent no results: `api` (shard 2, `python: 3.13`, canceled)**"
    assert summary in (tmp_path / "summary.md").read_text().splitlines()
