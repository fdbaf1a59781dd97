"""Shell scripts of CI pipelines: three jobs of a matrix send their reports, and a last job decides about their run."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.report_api import Reports, serving_reports_with_ingester
from tests.run_events import result, run_event

pytestmark = pytest.mark.slow

CLIENT = f"{sys.executable} -m service"
JOB = f'{CLIENT} report "$REPORT" --pipeline --variant "os:$OS" --wait'
GATE = f"{CLIENT} gate --pipeline --max-new-failures 0 --timeout 60"
COMMENT = f"{CLIENT} comment --pipeline --markdown"
PASSING = '<testsuite name="shop"><testcase name="pays"/><testcase name="ships"/></testsuite>'
FAILING = (
    '<testsuite name="shop"><testcase name="pays"><failure message="expected 200 got 503"/></testcase>'
    '<testcase name="ships"/></testsuite>'
)


class Pipeline(NamedTuple):
    """The variables of a CI system in a pull request, and the run ID of its pipeline in the project shop."""

    variables: dict[str, str]
    run_id: str


def github(folder: Path) -> Pipeline:
    event = folder / "event.json"
    event.write_text(json.dumps({"pull_request": {"head": {"sha": "c0ffee01"}}}))
    variables = {
        "GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "12", "GITHUB_RUN_ATTEMPT": "1", "GITHUB_JOB": "test",
        "GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "o/r", "GITHUB_REF": "refs/pull/3/merge",
        "GITHUB_HEAD_REF": "fix", "GITHUB_BASE_REF": "main", "GITHUB_SHA": "merge", "GITHUB_EVENT_PATH": str(event),
        "GITHUB_OUTPUT": str(folder / "output"), "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
    }  # fmt: skip
    return Pipeline(variables, "github-12:shop")


def gitlab(_: Path) -> Pipeline:
    variables = {
        "GITLAB_CI": "true", "CI_PIPELINE_ID": "12", "CI_JOB_NAME": "test: [linux]", "CI_COMMIT_SHA": "c0ffee01",
        "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "fix", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
        "CI_MERGE_REQUEST_IID": "3", "CI_JOB_URL": "https://gitlab.example/1",
    }  # fmt: skip
    return Pipeline(variables, "gitlab-12:shop")


async def shell(script: str, reports: Reports, pipeline: Pipeline, **variables: str) -> tuple[int, str]:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "CI_", "RESULTS_"))
    }
    environment = inherited | pipeline.variables | variables | {
        "RESULTS_URL": str(reports.api.http.make_url("/")), "RESULTS_API_KEY": reports.api.key,
        "RESULTS_PROJECT": "shop",
    }  # fmt: skip
    process = await asyncio.create_subprocess_shell(
        script, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


@pytest.mark.parametrize("describe", [github, gitlab])
async def test_gate_job_decides_about_the_jobs_of_a_matrix(database_url: str, tmp_path: Path, describe: Any) -> None:
    pipeline = describe(tmp_path)
    async with serving_reports_with_ingester(database_url, tmp_path) as reports:
        await reports.api.become("uploader")
        passing = [
            result("pays", suite="shop", variant={"os": os_}) for os_ in ("linux", "mac", "windows")
        ]  # fmt: skip
        await reports.api.store.ingest(run_event("main_1", passing, completed_at="2026-05-19T12:00:00Z", branch="main"))
        for os_, content in (("linux", PASSING), ("mac", FAILING), ("windows", PASSING)):
            report = tmp_path / f"{os_}.xml"
            report.write_text(content)
            code, output = await shell(JOB, reports, pipeline, OS=os_, REPORT=str(report))
            assert code == 0, output
            assert f"run {pipeline.run_id}: http://" in output
        run = await reports.api.get(f"/v1/runs/{pipeline.run_id}")
        assert (run["complete"], run["commit_sha"], run["base_branch"], run["pull_request"]) == (
            False, "c0ffee01", "main", "3",
        )  # fmt: skip
        code, output = await shell(GATE, reports, pipeline)
        assert code == 1, output
        for line in (
            f"blocked: run {pipeline.run_id} (failed)", "compared with run main_1 on main", "New failures: 1",
            "  shop > pays [os: mac]", "    expected 200 got 503", "    passed in its only run on main",
            "new failures: 1, at most 0 allowed (max_new_failures)",
        ):  # fmt: skip
            assert line in output.splitlines()
        code, output = await shell(COMMENT, reports, pipeline)
        assert (code, "- [`shop > pays [os: mac]`](http://" in output) == (0, True), output

        (tmp_path / "mac.xml").write_text(PASSING)  # the job is repeated after a fix of the environment
        rerun = {"GITHUB_RUN_ATTEMPT": "2", "CI_JOB_ID": "2"}
        await shell(JOB, reports, pipeline, OS="mac", REPORT=str(tmp_path / "mac.xml"), **rerun)
        code, output = await shell(GATE, reports, pipeline)
        assert code == 0, output
