"""Reports of parallel jobs that share the run of a pipeline don't replace each other's failures unnoticed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.client.__main__ import client
from service.client.ci import SYSTEMS
from tests.report_api import PASSING, Reports, serving_reports_with_ingester

FAILING = PASSING.replace(b'time="0.5"/>', b"><failure/></testcase>")
GITHUB = {"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "12", "GITHUB_JOB": "test", "GITHUB_RUN_ATTEMPT": "1"}
JENKINS = {"JENKINS_URL": "https://j", "BUILD_TAG": "jenkins-shop-7", "STAGE_NAME": "test"}  # states no attempt
CIRCLECI = {"CIRCLECI": "true", "CIRCLE_PIPELINE_ID": "12", "CIRCLE_JOB": "test", "CIRCLE_NODE_TOTAL": "2"}
WARNING = (
    "warning: this report replaced 2 results of another report of this pipeline, 1 of them failing. If another job of "
    "a matrix sent that report, give each job its own variant, for example --variant os:linux\n"
)

Send = Callable[..., Awaitable[Result]]


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports_with_ingester(database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
def send(reports: Reports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Send:
    """Send a report from a job with these variables."""
    for name in SYSTEMS:
        monkeypatch.delenv(name, raising=False)
    server = {
        "RESULTS_URL": str(reports.api.http.make_url("/")), "RESULTS_API_KEY": reports.api.key,
        "RESULTS_PROJECT": "shop", "GITHUB_OUTPUT": "",
    }  # fmt: skip

    async def send(content: bytes, variables: dict[str, str], *options: str) -> Result:
        await reports.api.store.pool.execute(
            "UPDATE results SET event_time_offset_s = event_time_offset_s - 60 WHERE event_time_offset_s > -1000000"
        )
        file = tmp_path / "junit.xml"
        file.write_bytes(content)
        arguments = ["report", str(file), "--wait", *options]
        result = await asyncio.to_thread(CliRunner().invoke, client, arguments, env=server | variables)
        assert result.exit_code == 0, result.output
        return result

    return send


async def test_parallel_job_is_a_shard(reports: Reports, send: Send) -> None:
    await send(FAILING, CIRCLECI | {"CIRCLE_NODE_INDEX": "0"}, "--pipeline")
    passing = await send(PASSING, CIRCLECI | {"CIRCLE_NODE_INDEX": "1"}, "--pipeline")
    assert "warning" not in passing.stderr
    run = await reports.api.get("/v1/runs/circleci-12:shop")
    assert (run["complete"], run["counts"]["failed"], run["counts"]["passed"]) == (False, 1, 1)
    receipts = (await reports.api.get("/v1/receipts"))["data"]
    assert [receipt["shard"] for receipt in receipts] == [2, 1]

    await send(PASSING + b" ", CIRCLECI | {"CIRCLE_NODE_INDEX": "0"}, "--pipeline")  # the job is repeated
    assert (await reports.api.get("/v1/runs/circleci-12:shop"))["counts"]["failed"] == 0


@pytest.mark.parametrize(
    ("options", "shard"),
    [((), None), (("--pipeline", "--variant", "os:linux"), None), (("--pipeline", "--shard", "7/9"), 7)],
)
async def test_job_with_its_own_run_variant_or_shard_has_no_other_shard(
    reports: Reports, send: Send, options: tuple[str, ...], shard: int | None
) -> None:
    await send(PASSING, CIRCLECI | {"CIRCLE_NODE_INDEX": "1"}, *options)
    [receipt] = (await reports.api.get("/v1/receipts"))["data"]
    assert receipt["shard"] == shard


async def test_report_that_replaces_results_of_another_job_causes_a_warning(send: Send) -> None:
    assert "warning" not in (await send(FAILING, JENKINS, "--pipeline")).stderr
    assert (await send(PASSING, JENKINS, "--pipeline")).stderr.endswith(WARNING)


@pytest.mark.parametrize("options", [("--variant", "os:linux", "--pipeline"), ()])
async def test_correction_by_the_same_job_causes_no_warning(send: Send, options: tuple[str, ...]) -> None:
    await send(FAILING, JENKINS, *options)
    result = await send(PASSING, JENKINS, *options)
    assert "  earlier results replaced: 2, of these failing: 1\n" in result.stdout
    assert "warning" not in result.stderr


async def test_rerun_of_a_job_makes_its_failure_flaky(reports: Reports, send: Send) -> None:
    await send(FAILING, GITHUB, "--pipeline")
    rerun = await send(PASSING, GITHUB | {"GITHUB_RUN_ATTEMPT": "2"}, "--pipeline")
    assert "warning" not in rerun.stderr
    run = await reports.api.get("/v1/runs/github-12:shop")
    assert (run["counts"]["failed"], run["counts"]["flaky"], run["counts"]["passed"]) == (0, 1, 2)
    assert run["parts"] == [{"part": "test", "variant": {}, "shard": None, "attempt": 2}]


async def test_jobs_of_a_matrix_do_not_replace_their_failures(reports: Reports, send: Send) -> None:
    await send(FAILING, GITHUB, "--pipeline")
    assert "warning" not in (await send(PASSING, GITHUB, "--pipeline")).stderr
    assert (await reports.api.get("/v1/runs/github-12:shop"))["counts"]["failed"] == 1
