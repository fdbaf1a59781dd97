"""The complete workflow of docs/guides/ci.md: a monorepo with three projects, a matrix, reruns, and a fork."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.pipelines.conftest import Pipelines
from tests.pipelines.github import ExecutedJob, Trigger, Workflow

pytestmark = pytest.mark.slow

TESTS = ("api", "web", "worker")


def workflow(pipelines: Pipelines) -> Workflow:
    return Workflow.of_page(pipelines.page, pipelines.folder, pipelines.path)


def push(pipelines: Pipelines, run_id: str = "1") -> Trigger:
    return Trigger(run_id, pipelines.replaced, pipelines.host.url, tokens=pipelines.tokens)


async def run_all(pipelines: Pipelines, trigger: Trigger, **outcomes: dict[str, str]) -> ExecutedJob:
    """Execute the jobs of a workflow, and return the gate. `outcomes` has those of a job by value of its matrix."""
    executed = workflow(pipelines)
    for name in TESTS:
        if outcomes.get(name) == {"": "skipped"}:
            executed.skip(name)
        else:
            jobs = await executed.run(trigger, name, outcomes.get(name))
            assert {job.result for job in jobs} <= {"success", "cancelled"}, jobs
    (gate,) = await executed.run(trigger, "gate")
    return gate


def assert_lines(job: ExecutedJob, expected: Sequence[str]) -> None:
    missing = [line for line in expected if line not in job.output]
    assert not missing, job.output


async def test_pipelines_of_a_monorepo(pipelines: Pipelines) -> None:
    main = push(pipelines)
    gate = await run_all(pipelines, main)
    assert gate.result == "success", gate.output
    assert await pipelines.runs("github-1") == dict.fromkeys(TESTS, "passed")

    # A pull request breaks one job of a matrix.
    change = replace(push(pipelines, "2").pull_request(12, "fix"))
    gate = await run_all(pipelines, change, api={"3.13": "failed"})
    assert gate.result == "failure"
    assert_lines(gate, ["new failures: 1, at most 0 allowed", "[python: 3.13]", "expected 200 got 503"])
    assert await pipelines.runs("github-2") == {"api": "failed", "web": "passed", "worker": "passed"}
    assert pipelines.comments().keys() == {"api", "web", "worker"}
    assert "1 new failure" in pipelines.comments()["api"]
    run = await pipelines.reports.api.get("/v1/runs/github-2:api")
    assert (run["title"], run["author"], run["pull_request"]) == ("Change fix", "jane", "12")

    # The failed job and the gate are run again, and pass: the result is flaky, and the comment is updated.
    rerun = workflow(pipelines)
    second = replace(change, attempt=2)
    for name in TESTS:
        rerun.results[name] = [ExecutedJob("success")]
    await rerun.run(second, "api", {"3.11": "canceled"})
    (gate,) = await rerun.run(second, "gate")
    assert gate.result == "success", gate.output
    assert pipelines.comments().keys() == {"api", "web", "worker"}
    assert "flaky" in pipelines.comments()["api"].lower()
    run = await pipelines.reports.api.get("/v1/runs/github-2:api")
    assert (run["counts"]["flaky"], run["counts"]["failed"]) == (1, 0)


async def test_canceled_and_skipped_jobs(pipelines: Pipelines) -> None:
    await run_all(pipelines, push(pipelines))

    # A canceled job of a project, and a canceled job of a matrix, send nothing.
    gate = await run_all(
        pipelines, push(pipelines, "2").pull_request(12, "fix"), api={"3.11": "canceled"}, web={"": "canceled"}
    )
    assert gate.result == "failure", gate.output
    assert "web" in gate.output
    assert "3.11" in gate.output

    # A job that the workflow skips on purpose is named, and doesn't block.
    gate = await run_all(pipelines, push(pipelines, "3").pull_request(13, "docs"), worker={"": "skipped"})
    assert gate.result == "success", gate.output
    assert "### `worker`: no results (allowed)" in gate.output


async def test_jobs_of_a_fork_end_with_one_line(pipelines: Pipelines) -> None:
    await run_all(pipelines, push(pipelines))
    gate = await run_all(pipelines, push(pipelines, "2").pull_request(12, "fix", is_fork=True), api={"3.13": "failed"})
    assert gate.result == "success", gate.output
    assert "fork" in gate.output
    assert await pipelines.runs("github-2") == {}
    assert pipelines.comments() == {}


async def test_merge_queue_compares_with_its_target(pipelines: Pipelines) -> None:
    await run_all(pipelines, push(pipelines))
    queue = "gh-readonly-queue/main/pr-12-c0ffee"
    group = {"head_sha": "d" * 40, "head_ref": f"refs/heads/{queue}", "base_ref": "refs/heads/main"}
    merge = replace(
        push(pipelines, "2"), name="merge_group", ref=f"refs/heads/{queue}", sha="d" * 40, event={"merge_group": group}
    )
    gate = await run_all(pipelines, merge, web={"": "failed"})
    assert gate.result == "failure"
    run = await pipelines.reports.api.get("/v1/runs/github-2:web")
    assert (run["branch"], run["base_branch"], run["pull_request"]) == (queue, "main", "12")
