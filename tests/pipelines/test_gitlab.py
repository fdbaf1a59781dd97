"""The complete pipeline of GitLab in docs/guides/ci.md: the same monorepo as that of the workflow of GitHub."""

import pytest

from tests.integrations.steps import Outcome
from tests.pipelines.conftest import Pipelines
from tests.pipelines.gitlab import GitLabPipeline, GitLabTrigger

pytestmark = pytest.mark.slow

TESTS = ("api", "web", "worker")


def pipeline(pipelines: Pipelines) -> GitLabPipeline:
    return GitLabPipeline.of_page(pipelines.page, pipelines.folder, pipelines.path)


def push(pipelines: Pipelines) -> GitLabTrigger:
    replaced = {**pipelines.replaced, "GITLAB_TOKEN": "token"}
    return GitLabTrigger.push("1", replaced, pipelines.host.url, pipelines.tokens)


async def run_all(pipelines: Pipelines, trigger: GitLabTrigger, **outcomes: dict[str, str]) -> Outcome:
    """Execute the jobs of a pipeline, and return the gate. `outcomes` has those of a job by value of its matrix."""
    executed = pipeline(pipelines)
    for name in TESTS:
        jobs = await executed.run(trigger, name, outcomes.get(name))
        assert {job.code for job in jobs} <= {0}, jobs
    (gate,) = await executed.run(trigger, "gate")
    return gate


async def test_pipelines_of_a_monorepo(pipelines: Pipelines) -> None:
    main = push(pipelines)
    gate = await run_all(pipelines, main)
    assert gate.code == 0, gate.output
    assert await pipelines.runs("gitlab-1") == dict.fromkeys(TESTS, "passed")

    # A merge request breaks one job of a matrix.
    change = main.merge_request("2", 12, "fix")
    gate = await run_all(pipelines, change, api={"3.13": "failed"})
    assert gate.code == 1, gate.output
    assert "new failures: 1, at most 0 allowed" in gate.output
    assert await pipelines.runs("gitlab-2") == {"api": "failed", "web": "passed", "worker": "passed"}
    assert pipelines.comments().keys() == {"api", "web", "worker"}
    assert "1 new failure" in pipelines.comments()["api"]

    # The failed job and the gate are retried: both get a higher job ID, and the result is flaky.
    retried = pipeline(pipelines)
    await retried.run(change, "api", {"3.11": "canceled"})
    (gate,) = await retried.run(change, "gate")
    assert gate.code == 0, gate.output
    assert "flaky" in pipelines.comments()["api"].lower()
    run = await pipelines.reports.api.get("/v1/runs/gitlab-2:api")
    assert (run["counts"]["flaky"], run["counts"]["failed"]) == (1, 0)
    assert (run["title"], run["author"], run["pull_request"]) == ("Change fix", "jane", "12")


async def test_canceled_jobs_block(pipelines: Pipelines) -> None:
    main = push(pipelines)
    await run_all(pipelines, main)
    gate = await run_all(pipelines, main.merge_request("2", 12, "fix"), api={"3.11": "canceled"}, web={"": "canceled"})
    assert gate.code == 1, gate.output
    assert "web" in gate.output
    assert "3.11" in gate.output


async def test_jobs_of_a_fork_end_with_one_line(pipelines: Pipelines) -> None:
    main = push(pipelines)
    await run_all(pipelines, main)
    gate = await run_all(pipelines, main.merge_request("2", 12, "fix", is_fork=True), api={"3.13": "failed"})
    assert gate.code == 0, gate.output
    assert "fork" in gate.output
    assert await pipelines.runs("gitlab-2") == {}
    assert pipelines.comments() == {}
