"""The gate waits, shows what failed, and says by its exit code whether a pipeline may go on."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

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


async def test_a_wrong_key_is_an_error_and_not_a_verdict(api: Api) -> None:
    with pytest.raises(ServerError, match="401"):
        await gate(url(api), "zof_wrong", "run_1", Gate(), 5)


async def test_the_command_ends_with_the_code(api: Api) -> None:
    await api.store.take(run_event(results=[FAILING]))
    assert await command(api, "--run-id", "run_1") == FAILED
    assert await command(api, "--run-id", "run_1", "--max-failures", "1") == PASSED
    assert await command(api, "--run-id", "run_2", "--timeout", "0") == TIMED_OUT
    assert await command(api, "--run-id", "run_1", key="zof_wrong") == 3


async def command(api: Api, *arguments: str, key: str | None = None) -> int:
    environment = {**os.environ, "RESULTS_URL": url(api), "RESULTS_API_KEY": key or api.key}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", "gate", *arguments, env=environment, stdout=asyncio.subprocess.DEVNULL
    )
    return await process.wait()
