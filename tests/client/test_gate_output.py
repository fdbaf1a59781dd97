"""The gate prints the failures of a run with their evidence, for terminals and for the steps of GitHub Actions."""

from collections.abc import Collection
from pathlib import Path

import pytest

from service.client import gate as client
from service.client.changes import RunChanges, read_changes
from service.client.gate_outcomes import BLOCKED, PASSED
from service.client.http import JsonObject, Server
from service.client.pipelines import AwaitedRuns
from service.client.runs import AwaitedRun
from tests.client.gates import FAILING, FLAKY, decide, put_gate, url
from tests.run_events import result, run_event
from tests.served import Api


def at(minute: int) -> str:
    return f"2026-05-20T11:{minute:02}:00Z"


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
    [decision] = (await api.get("/v1/decisions"))["data"]
    assert capsys.readouterr().out.splitlines() == [
        "blocked: run release/7 (failed)",
        "1 passed (1 flaky), 2 failed",
        "compared with run main_2 on main",
        "New failures: 1",
        "  auth.login > pays | cash",
        "    expected 200 got 503",
        "    passed in all 3 runs on main",
        "Known failures: 1",
        "  auth.login > refunds",
        "    timeout",
        "    failed in all 3 runs on main, failing since run main_0",
        "Flaky results, passed after a failed attempt: 1",
        "  auth.login > logs in",
        "    no",
        "flaky results: 1, at most 0 allowed (max_flaky)",
        "limits   --max-flaky 0",
        f"run      {url(api)}console/runs/release%2F7",
        f"decision {url(api)}v1/decisions/{decision['id']}",
        "ci       https://ci.example.com/7",
    ]


async def test_variants_of_a_test_are_one_entry_whose_details_are_printed_once(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = [
        result("pays", "failed", variant={"os": os, "python": "3.13"}, failure={"message": message})
        for os, message in (("linux", "timeout"), ("mac", "timeout"), ("windows", "no such file"))
    ]
    same_name = [result("ships", "failed", case_id=case_id) for case_id in ("C-1", "C-2")]
    others = [result("pays", "error"), result("refunds", "failed"), *same_name]
    await api.store.ingest(run_event(results=[*failing, *others]))
    await decide(api)
    printed = capsys.readouterr().out.splitlines()
    start = printed.index("Failures: 7")
    assert printed[start : printed.index("failures: 7, at most 0 allowed (max_failures)")] == [
        "Failures: 7",
        "  auth.login > pays (4 variants)",
        "    no variant",
        "    os: linux, python: 3.13; os: mac, python: 3.13",
        "      timeout",
        "    os: windows, python: 3.13",
        "      no such file",
        "  auth.login > refunds",
        "  auth.login > ships (2 results)",
        "    no variant; no variant",
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
    assert written.startswith("existing text\n### Blocked: `shop`\n")
    [failing] = (await api.get("/v1/results"))["data"]
    page = f"{url(api)}console/results/{failing['id']}"
    assert f"- [`auth.login > pays | cash`]({page})\n  <br>`expected 200 got 503`\n" in written
    assert f"Run [`run_1`]({url(api)}console/runs/run_1)" in written
    assert "\n\nfailures: 1, at most 0 allowed (max_failures)\n\nLimits: max_failures: 0 (default)\n" in written


async def test_reason_of_a_waiver_is_no_markup(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    await put_gate(api, "release", max_failures=0)
    await api.store.ingest(run_event(results=[FAILING]))
    response = await api.send("POST", "/v1/runs/run_1/decisions", json={"gate": "release"})
    waiver = f"/v1/decisions/{(await response.json())['id']}/waiver"
    await api.send("POST", waiver, json={"reason": "@octocat <b>agreed</b>"})
    assert await decide(api, gate_name="release") == PASSED
    assert '\nwaived by `key "test"`: `@octocat <b>agreed</b>`\n' in (tmp_path / "summary.md").read_text()


async def test_gate_in_a_github_job_prints_annotations(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    await api.store.ingest(run_event(results=[FAILING | {"file": "tests/shop.py", "line": 7}]))
    await decide(api)
    page = f"{url(api)}console/runs/run_1"
    assert f"::error file=tests/shop.py,line=7,title=auth.login > pays | cash::expected 200 got 503. {page}" in (
        capsys.readouterr().out.splitlines()
    )


async def test_names_do_not_change_the_direction_of_text(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    await api.store.ingest(run_event(results=[result("pays", "failed", failure={"message": "\u202etxet\u2069"})]))
    await decide(api)
    out = capsys.readouterr().out
    assert r"\u202etxet\u2069" in out
    assert not {"\u202e", "\u2069"} & set(out)


async def test_long_names_are_not_truncated(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    name = "test_with_" + "a_very_long_name_" * 10
    await api.store.ingest(run_event(results=[result(name, "failed")]))
    await decide(api)
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert name in shown


async def test_unwritable_summary_does_not_change_the_exit_code(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "/proc/no/such/summary")
    await api.store.ingest(run_event())
    assert await decide(api) == PASSED


async def test_gate_prints_no_control_characters(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    failure = {"message": "\x1b[31mno\x1b[0m\x07"}
    await api.store.ingest(
        run_event(results=[result("\x1b]0;title\x07pays\x08", "failed", failure=failure)], ci_url="https://ci/\x1b[2J")
    )
    await decide(api)
    captured = capsys.readouterr()
    assert "pays" in captured.out
    assert not set(captured.out + captured.err) & {"\x1b", "\x07", "\x08"}


async def test_printed_counts_are_those_of_the_decision(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await api.store.ingest(run_event(results=[FAILING]))
    earlier = await api.get("/v1/runs/run_1")
    await api.store.ingest(run_event(results=[FAILING, result("another", "failed")], shard=2))
    monkeypatch.setattr(client, "await_runs", lambda *_, **__: AwaitedRuns([AwaitedRun("run_1", earlier)]))
    assert await decide(api, max_failures=1) == BLOCKED
    shown = capsys.readouterr()
    assert "\n2 failed\n" in shown.out
    assert "\nFailures: 2\n" in shown.out
    assert shown.err == ""


async def test_gate_ends_although_the_run_changes_all_the_time(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def read_later(server: Server, run: JsonObject, canceled: Collection[str]) -> RunChanges:
        changes = read_changes(server, run, canceled)
        changes.comparison["revision"] += 1
        return changes

    monkeypatch.setattr(client, "read_changes", read_later)
    await api.store.ingest(run_event())
    assert await decide(api) == PASSED
    assert "warning: the run changes continuously" in capsys.readouterr().err


async def test_gate_prints_a_decision_of_an_earlier_version(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """During a rolling upgrade, the client of the new version gets decisions of processes of the earlier one."""
    post = Server.post

    def post_to_earlier(server: Server, path: str, body: JsonObject) -> JsonObject:
        decision: JsonObject = post(server, path, body)
        return {name: value for name, value in decision.items() if not name.startswith("missing_")}

    monkeypatch.setattr(Server, "post", post_to_earlier)
    await put_gate(api, "default", max_failures=0)
    await api.store.ingest(run_event())
    assert await decide(api) == PASSED
