"""The gate waits, shows what failed, and says by its exit code whether a pipeline may go on."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from service.client.gate import FAILED, PASSED, TIMED_OUT, gate
from service.client.http import ServerError
from service.domain.gates import Gate
from tests.api.served import Api, serve
from tests.run_events import result, run_event

FAILING = result("pays | cash", "failed", failure={"message": "expected 200 got 503\nat line 3"})
FLAKY = result("logs in", "passed", attempts=[{"status": "failed"}, {"status": "passed"}])


@pytest.fixture
async def api(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    async with serve(database_url) as served:
        yield served


def url(api: Api) -> str:
    return str(api.http.make_url("/"))


async def passes(api: Api, rules: Gate = Gate(), run_id: str = "run_1", timeout_s: float = 10) -> int:  # noqa: B008
    return await gate(url(api), api.key, run_id, rules, timeout_s)


@pytest.mark.parametrize(
    ("results", "rules", "code"),
    [
        ([result()], Gate(), PASSED),
        ([FAILING], Gate(), FAILED),
        ([FAILING], Gate(max_failures=1), PASSED),
        ([FAILING, result("another", "error")], Gate(max_failures=1), FAILED),
        ([FLAKY], Gate(), FAILED),
        ([FLAKY], Gate(allow_flaky=True), PASSED),
        ([result("skips", "skipped")], Gate(), PASSED),
    ],
)
async def test_the_exit_code_follows_the_rules(api: Api, results: list[Any], rules: Gate, code: int) -> None:
    await api.store.take(run_event(results=results))
    assert await passes(api, rules) == code


@pytest.mark.parametrize("status", ["canceled", "error", "failed"])
async def test_a_run_that_did_not_go_well_itself_is_refused(api: Api, status: str) -> None:
    await api.store.take(run_event(status=status))
    assert await passes(api, Gate(max_failures=9)) == FAILED


async def test_it_waits_for_a_run_that_comes_in_parts(api: Api) -> None:
    waiting = asyncio.create_task(passes(api))
    await asyncio.sleep(0.3)
    await api.store.take(run_event(results=[result("one")], shard=1, expected_shards=2))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await api.store.take(run_event(results=[result("two", "failed")], shard=2, expected_shards=2))
    assert await waiting == FAILED


@pytest.mark.parametrize("comes", [True, False])
async def test_it_gives_up_after_the_time(api: Api, comes: bool, capsys: pytest.CaptureFixture[str]) -> None:
    if comes:
        await api.store.take(run_event(shard=1, expected_shards=2))
    assert await passes(api, timeout_s=1) == TIMED_OUT
    assert ("is not complete" if comes else "has not come") in capsys.readouterr().err


async def test_it_shows_the_failures_and_where_to_read_on(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    await api.store.take(run_event("release/7", results=[FAILING, result()], ci_url="https://ci.example.com/7"))
    await passes(api, run_id="release/7")
    shown = capsys.readouterr().out
    for piece in (
        "pays | cash",
        "expected 200 got 503",
        "1 failed",
        f"{url(api)}v1/runs/release%2F7",
        "ci.example.com",
    ):
        assert piece in shown
    assert "logs in" not in shown


async def test_it_writes_the_summary_of_a_github_step(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("what stood there\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    await api.store.take(run_event(results=[FAILING]))
    await passes(api)
    written = summary.read_text()
    assert written.startswith("what stood there\n")
    assert "| auth.login | pays \\| cash | failed | expected 200 got 503 |" in written


async def test_failures_that_are_allowed_are_told_and_not_passed_over(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    await api.store.take(run_event(results=[FAILING, result("crashes", "error"), result()]))
    assert await passes(api, Gate(max_failures=2)) == PASSED
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "passed with failures that are allowed: run run_1 (error)"
    assert "2 failed, at most 2 allowed" in lines


async def test_a_run_without_failures_just_passes(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    await api.store.take(run_event())
    await passes(api)
    assert capsys.readouterr().out.startswith("passed: run run_1 (passed)\n1 passed\n")


async def test_names_are_whole_in_the_log_of_a_job(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    name = "test_that_" + "is_named_at_length_" * 10
    await api.store.take(run_event(results=[result(name, "failed")]))
    await passes(api)
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert name in "".join(line[10:] for line in shown.splitlines()).replace(" ", "").replace("failed", "")


async def test_it_says_what_it_waits_for(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    await passes(api, timeout_s=1)
    assert capsys.readouterr().err.startswith("run run_1 has not come yet; waiting for up to 1 s\n")


async def test_a_summary_that_can_t_be_written_changes_no_verdict(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "/proc/no/such/summary")
    await api.store.take(run_event())
    assert await passes(api) == PASSED


async def test_a_url_may_end_as_the_api_does(api: Api) -> None:
    await api.store.take(run_event())
    assert await gate(f"{url(api)}v1/", api.key, "run_1", Gate(), 5) == PASSED


async def test_another_server_is_an_error_and_not_a_run_that_has_not_come() -> None:
    async def elsewhere(_: web.Request) -> web.Response:
        return web.Response(status=404, text="<h1>not here</h1>")

    app = web.Application()
    app.router.add_get("/{path:.*}", elsewhere)
    async with TestServer(app) as server:
        with pytest.raises(ServerError, match="answers with 404 Not Found, which is not how a Results API does"):
            await gate(str(server.make_url("/")), "zof_1", "run_1", Gate(), 5)


async def test_it_says_that_it_tries_again(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ServerError, match="does not answer"):
        await gate("http://127.0.0.1:9", "zof_1", "run_1", Gate(), 2)
    assert "; trying again for up to 2 s" in capsys.readouterr().err


async def test_a_wrong_key_is_an_error_and_not_a_verdict(api: Api) -> None:
    with pytest.raises(ServerError, match="401"):
        await gate(url(api), "zof_wrong", "run_1", Gate(), 5)


async def test_the_command_ends_with_the_code(api: Api) -> None:
    await api.store.take(run_event(results=[FAILING]))
    assert await command(api, "--run-id", "run_1") == FAILED
    assert await command(api, "--run-id", "run_1", "--max-failures", "1") == PASSED
    assert await command(api, "--run-id", "run_2", "--timeout", "0") == TIMED_OUT
    assert await command(api, "--run-id", "run_1", key="zof_wrong") == 3


async def test_a_reader_that_goes_away_changes_no_verdict(api: Api) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        await api.store.take(run_event())
        assert await command(api, "--run-id", "run_1", stdout=writing) == PASSED
    finally:
        os.close(writing)


async def test_an_interruption_is_no_verdict(api: Api) -> None:
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
