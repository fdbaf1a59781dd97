"""The metadata of the current CI job, which is the default metadata of a report."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from service.client.terminal import print_message

GetVariable = Callable[[str], str]  # returns an empty string for a variable that isn't set

_MAX_RUN_ID: Final = 200
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]+")


class CiJob(NamedTuple):
    """One execution of a CI job. Each retry of the job is a separate run."""

    run_id: str | None = None
    branch: str | None = None
    commit_sha: str | None = None
    ci_url: str | None = None


def current_job(variables: Mapping[str, str]) -> CiJob:
    """Return the job that these environment variables describe, or an empty job outside of the known CI systems."""
    for marker, describe in (
        ("GITHUB_ACTIONS", _github),
        ("GITLAB_CI", _gitlab),
        ("BUILDKITE", _buildkite),
        ("CIRCLECI", _circleci),
        ("JENKINS_URL", _jenkins),
    ):
        if variables.get(marker):
            return _normalize(describe(lambda name: variables.get(name, "")))
    return CiJob()


def _github(get: GetVariable) -> CiJob:
    """GitHub sets no variable that distinguishes the jobs of a matrix: they share a run unless --run-id is given."""
    run_id = f"github-{get('GITHUB_RUN_ID')}-{get('GITHUB_RUN_ATTEMPT')}-{get('GITHUB_JOB')}"
    url = f"{get('GITHUB_SERVER_URL')}/{get('GITHUB_REPOSITORY')}/actions/runs/{get('GITHUB_RUN_ID')}"
    return CiJob(run_id, get("GITHUB_HEAD_REF") or get("GITHUB_REF_NAME"), _github_commit(get), url)


def _github_commit(get: GetVariable) -> str:
    """Return the head commit. GITHUB_SHA of a pull request is a merge commit, which exists in no branch."""
    if not get("GITHUB_HEAD_REF"):
        return get("GITHUB_SHA")
    try:
        event = json.loads(Path(get("GITHUB_EVENT_PATH")).read_text("utf-8"))
        return str(event["pull_request"]["head"]["sha"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        print_message(
            f"GITHUB_EVENT_PATH: the commit is unknown, because it contains no pull_request.head.sha: {error!r}"
        )
        return ""


def _gitlab(get: GetVariable) -> CiJob:
    """GitLab sets the head commit separately only if the job tests a merge commit."""
    commit = get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA") or get("CI_COMMIT_SHA")
    branch = get("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME") or get("CI_COMMIT_REF_NAME")
    return CiJob(f"gitlab-{get('CI_JOB_ID')}", branch, commit, get("CI_JOB_URL"))


def _buildkite(get: GetVariable) -> CiJob:
    url = f"{get('BUILDKITE_BUILD_URL')}#{get('BUILDKITE_JOB_ID')}"
    return CiJob(f"buildkite-{get('BUILDKITE_JOB_ID')}", get("BUILDKITE_BRANCH"), get("BUILDKITE_COMMIT"), url)


def _circleci(get: GetVariable) -> CiJob:
    """The parallel containers of a job have the same job ID, so the run ID contains their index."""
    job = get("CIRCLE_WORKFLOW_JOB_ID") or get("CIRCLE_BUILD_NUM")
    run_id = f"circleci-{job}-{get('CIRCLE_NODE_INDEX') or '0'}"
    return CiJob(run_id, get("CIRCLE_BRANCH"), get("CIRCLE_SHA1"), get("CIRCLE_BUILD_URL"))


def _jenkins(get: GetVariable) -> CiJob:
    """Plugins for pull requests set the head commit, because GIT_COMMIT can be a merge commit."""
    branch = get("CHANGE_BRANCH") or get("BRANCH_NAME") or get("GIT_BRANCH")
    head = get("ghprbActualCommit") or get("gitlabMergeRequestLastCommit")
    return CiJob(get("BUILD_TAG"), branch, head or get("GIT_COMMIT"), get("BUILD_URL"))


def _normalize(job: CiJob) -> CiJob:
    """Return the job with a run ID that the server accepts, and with None instead of empty text."""
    run_id = _UNPRINTABLE.sub("-", job.run_id or "")[:_MAX_RUN_ID]
    return CiJob(run_id or None, job.branch or None, job.commit_sha or None, job.ci_url or None)
