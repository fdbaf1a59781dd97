"""What a CI system says of the job it runs: the defaults of what a report is sent with."""

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

Get = Callable[[str], str]  # a variable, or an empty text

_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]+")


class Job(NamedTuple):
    """One execution of a job. Every retry of it is a run of its own."""

    run_id: str | None = None
    branch: str | None = None
    commit_sha: str | None = None
    ci_url: str | None = None


def current_job(variables: Mapping[str, str]) -> Job:
    """The job that these environment variables tell of; nothing is known outside of a CI system that we know."""
    for marker, describe in (
        ("GITHUB_ACTIONS", _github),
        ("GITLAB_CI", _gitlab),
        ("BUILDKITE", _buildkite),
        ("CIRCLECI", _circleci),
        ("JENKINS_URL", _jenkins),
    ):
        if variables.get(marker):
            return _tidy(describe(lambda name: variables.get(name, "")))
    return Job()


def _github(get: Get) -> Job:
    """A job's matrix legs look alike from here, so they share the run unless they are given run ids."""
    run_id = f"github-{get('GITHUB_RUN_ID')}-{get('GITHUB_RUN_ATTEMPT')}-{get('GITHUB_JOB')}"
    url = f"{get('GITHUB_SERVER_URL')}/{get('GITHUB_REPOSITORY')}/actions/runs/{get('GITHUB_RUN_ID')}"
    return Job(run_id, get("GITHUB_HEAD_REF") or get("GITHUB_REF_NAME"), get("GITHUB_SHA"), url)


def _gitlab(get: Get) -> Job:
    branch = get("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME") or get("CI_COMMIT_REF_NAME")
    return Job(f"gitlab-{get('CI_JOB_ID')}", branch, get("CI_COMMIT_SHA"), get("CI_JOB_URL"))


def _buildkite(get: Get) -> Job:
    url = f"{get('BUILDKITE_BUILD_URL')}#{get('BUILDKITE_JOB_ID')}"
    return Job(f"buildkite-{get('BUILDKITE_JOB_ID')}", get("BUILDKITE_BRANCH"), get("BUILDKITE_COMMIT"), url)


def _circleci(get: Get) -> Job:
    """The parallel containers of a job are told apart by their index."""
    job = get("CIRCLE_WORKFLOW_JOB_ID") or get("CIRCLE_BUILD_NUM")
    run_id = f"circleci-{job}-{get('CIRCLE_NODE_INDEX') or '0'}"
    return Job(run_id, get("CIRCLE_BRANCH"), get("CIRCLE_SHA1"), get("CIRCLE_BUILD_URL"))


def _jenkins(get: Get) -> Job:
    branch = get("CHANGE_BRANCH") or get("BRANCH_NAME") or get("GIT_BRANCH")
    return Job(get("BUILD_TAG"), branch, get("GIT_COMMIT"), get("BUILD_URL"))


def _tidy(job: Job) -> Job:
    """Within what the server takes."""
    run_id = _UNPRINTABLE.sub("-", job.run_id or "")[:200]
    return Job(run_id or None, job.branch or None, job.commit_sha or None, job.ci_url or None)
