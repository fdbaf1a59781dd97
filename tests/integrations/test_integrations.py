"""The integrations for GitHub, GitLab, and Buildkite, executed with the variables of each system."""

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.client.code_hosts import CodeHostServer, serving_code_host
from tests.integrations.steps import (
    execute,
    gitlab_jobs,
    run_buildkite_hook,
    run_gitlab_job,
    server_variables,
    use_action,
)
from tests.report_api import Reports, serving_reports_with_ingester
from tests.run_events import result, run_event

pytestmark = pytest.mark.slow

GATE = "--max-new-failures=0"
PASSING = '<testsuite name="shop"><testcase name="pays"/></testsuite>'
FAILING = PASSING.replace("/></testsuite>", '><failure message="expected 200 got 503"/></testcase></testsuite>')


@pytest.fixture
async def reports(database_url: str, tmp_path: Path, client_sha256: str) -> AsyncIterator[Reports]:
    (tmp_path / "junit.xml").write_text(FAILING)
    async with serving_reports_with_ingester(database_url, tmp_path / "storage") as serving:
        await serving.api.become("uploader")
        await send_baseline(serving, "r", part="test")
        yield serving


async def send_baseline(reports: Reports, project: str, part: str) -> None:
    """Store the run of a project in a pipeline of the base branch."""
    results = [result("pays", suite="shop", variant={"os": "linux"})]
    baseline = run_event(
        f"main_1:{project}",
        results,
        branch="main",
        project_id=project,
        pipeline="main_1",
        part=part,
    )
    await reports.api.store.ingest(baseline)


@pytest.fixture
async def host() -> AsyncIterator[CodeHostServer]:
    async with serving_code_host() as serving:
        yield serving


def github_job(folder: Path, host: CodeHostServer, *, is_fork: bool = False) -> dict[str, str]:
    event = folder / "event.json"
    head = {"sha": "c0ffee01", "repo": {"fork": is_fork, "full_name": "fork/r" if is_fork else "o/r"}}
    base = {"repo": {"full_name": "o/r"}}
    pull_request = {"head": head, "base": base, "title": "Pay once", "user": {"login": "jane"}}
    event.write_text(json.dumps({"pull_request": pull_request}))
    return {
        "GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "812", "GITHUB_RUN_ATTEMPT": "1", "GITHUB_JOB": "test",
        "GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "o/r", "GITHUB_REF": "refs/pull/12/merge",
        "GITHUB_HEAD_REF": "fix", "GITHUB_BASE_REF": "main", "GITHUB_SHA": "merge", "GITHUB_EVENT_PATH": str(event),
        "GITHUB_EVENT_NAME": "pull_request", "GITHUB_OUTPUT": str(folder / "output"), "GITHUB_API_URL": host.url,
        "GITHUB_GRAPHQL_URL": f"{host.url}/graphql", "RUNNER_TEMP": str(folder),
    }  # fmt: skip


def other_tools(folder: Path) -> dict[str, str]:
    """Return the path of programs where `sha256sum` doesn't exist, as on macOS, or has no long options."""
    program = folder / "bin" / "sha256sum"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 127\n")
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin"}


async def use(reports: Reports, job: dict[str, str], folder: Path, **inputs: str) -> tuple[int, str]:
    contexts = {"github.token": "ghs_token"}
    url = server_variables(reports)["RESULTS_URL"]
    return await use_action(folder, job, contexts, url=url, **{"key": reports.api.key, **inputs})


async def test_action_sends_a_report_decides_and_comments(
    reports: Reports, host: CodeHostServer, tmp_path: Path
) -> None:
    job = github_job(tmp_path, host)
    code, output = await use(reports, job, tmp_path, files="\n  junit.xml\n", options="--variant=os:linux\n")
    assert code == 0, output
    run = await reports.api.get("/v1/runs/github-812:r")
    assert (run["project_id"], run["title"], run["counts"]["failed"]) == ("r", "Pay once", 1)

    await send_baseline(reports, "web", part="ui")
    needs = json.dumps({"test": {"result": "success"}, "ui": {"result": "skipped"}}, indent=2)
    code, output = await use(reports, job, tmp_path, command="gate", options=f"{GATE}\n--timeout=60", needs=needs)
    assert code == 1, output
    assert "new failures: 1, at most 0 allowed" in output
    (comment,) = host.texts
    assert "1 new failure" in comment
    assert "web" in output  # allowed to be missing, so that it has no comment
    assert {"run_id=github-812:r", "outcome=blocked"} <= set((tmp_path / "output").read_text().splitlines())


async def test_action_in_a_fork_ends_with_one_line(reports: Reports, host: CodeHostServer, tmp_path: Path) -> None:
    job = github_job(tmp_path, host, is_fork=True)
    for inputs in ({"files": "junit.xml"}, {"command": "gate"}):
        code, output = await use(reports, job, tmp_path, key="", **inputs)
        assert code == 0, output
        assert "fork" in output.splitlines()[0]
    assert host.texts == []
    assert (await reports.api.get("/v1/runs", {"branch": "fix"}))["data"] == []


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"command": "gates"}, "::error::command: must be report or gate"),
        ({}, "::error::files: must contain at least one path"),
        ({"files": "junit.xml", "client_sha256": "0" * 64}, "the SHA-256 isn't 0000"),
    ],
)
async def test_action_rejects_wrong_inputs(
    reports: Reports, host: CodeHostServer, tmp_path: Path, inputs: dict[str, str], message: str
) -> None:
    code, output = await use(reports, github_job(tmp_path, host), tmp_path, **inputs)
    assert code == 1
    assert message in output


def gitlab_job(host: CodeHostServer, reports: Reports) -> dict[str, str]:
    return {
        "GITLAB_CI": "true", "CI_PIPELINE_ID": "12", "CI_JOB_NAME": "test", "CI_JOB_ID": "1",
        "CI_COMMIT_SHA": "c0ffee01",
        "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "fix", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
        "CI_MERGE_REQUEST_IID": "12", "CI_JOB_URL": "https://gitlab.example.org/1", "CI_PROJECT_NAME": "r",
        "CI_PROJECT_ID": "3", "CI_API_V4_URL": host.url, "GITLAB_TOKEN": "token", "CI_MERGE_REQUEST_TITLE": "Pay once",
        "RESULTS_API_KEY": reports.api.key,
    }  # fmt: skip


async def test_component_sends_a_report_decides_and_comments(
    reports: Reports, host: CodeHostServer, tmp_path: Path, client_sha256: str
) -> None:
    variables = gitlab_job(host, reports) | other_tools(tmp_path)
    jobs = gitlab_jobs(
        url=server_variables(reports)["RESULTS_URL"], gate_options=GATE, report_options="--variant os:linux",
        client_sha256=client_sha256,
    )  # fmt: skip
    code, output = await run_gitlab_job(jobs[".zof-results-report"], "after_script", tmp_path, variables)
    assert code == 0, output
    gate = {**variables, "CI_JOB_NAME": "gate"}
    code, output = await run_gitlab_job(jobs["zof-results-gate"], "script", tmp_path, gate)
    assert code == 1, output
    assert "new failures: 1, at most 0 allowed" in output
    code, output = await run_gitlab_job(jobs["zof-results-gate"], "after_script", tmp_path, gate)
    assert code == 0, output
    assert "1 new failure" in host.texts[0]


async def test_component_runs_no_client_with_another_sha256(
    reports: Reports, host: CodeHostServer, tmp_path: Path
) -> None:
    jobs = gitlab_jobs(url=server_variables(reports)["RESULTS_URL"], client_sha256="0" * 64)
    outcome = await run_gitlab_job(jobs[".zof-results-report"], "after_script", tmp_path, gitlab_job(host, reports))
    assert outcome.code == 1
    assert "the SHA-256 isn't 0000" in outcome.output
    assert (await reports.api.get("/v1/runs", {"branch": "fix"}))["data"] == []


async def test_plugin_sends_a_report_and_decides(reports: Reports, tmp_path: Path) -> None:
    variables = {
        "BUILDKITE": "true", "BUILDKITE_BUILD_ID": "b1", "BUILDKITE_STEP_ID": "s1", "BUILDKITE_STEP_KEY": "test",
        "BUILDKITE_BRANCH": "fix", "BUILDKITE_COMMIT": "c0ffee01", "BUILDKITE_BUILD_URL": "https://buildkite.example/1",
        "BUILDKITE_JOB_ID": "j1", "BUILDKITE_PIPELINE_SLUG": "r", "BUILDKITE_PULL_REQUEST": "12",
        "BUILDKITE_PULL_REQUEST_BASE_BRANCH": "main", "RESULTS_API_KEY": reports.api.key, "TMPDIR": str(tmp_path),
        **other_tools(tmp_path),
    }  # fmt: skip
    url = server_variables(reports)["RESULTS_URL"]
    code, output = await run_buildkite_hook(tmp_path, variables, url=url, files="*.xml", options="--variant os:linux")
    assert code == 0, output
    code, output = await run_buildkite_hook(tmp_path, variables, url=url, gate=GATE)
    assert code == 1, output
    assert "new failures: 1, at most 0 allowed" in output
    outcome = await run_buildkite_hook(tmp_path, variables, url=url, files="*.xml", client_sha256="0" * 64)
    assert outcome.code != 0
    assert "the SHA-256 isn't 0000" in outcome.output


async def test_scripts_have_valid_syntax(tmp_path: Path) -> None:
    root = Path(__file__).parents[2] / "integrations"
    for script in (root / "github" / "run", root / "buildkite" / "hooks" / "post-command"):
        assert (await execute(f"bash -n '{script}'", tmp_path, {})).code == 0
        assert script.stat().st_mode & 0o111
