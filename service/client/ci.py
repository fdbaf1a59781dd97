"""The metadata of the current CI job, which is the default metadata of a report."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from service.client.terminal import print_message

GetVariable = Callable[[str], str]  # returns an empty string for a variable that isn't set

_MAX_RUN_ID: Final = 200
_MAX_PART: Final = 200
_DIGEST: Final = 12  # hex digits after the start of a name that is too long
_ATTEMPT: Final = re.compile(r"[1-9][0-9]{0,14}", re.ASCII)
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_NOT_IN_RUN_ID: Final = re.compile(r"[^\x21-\x7e]+")
_PULL_REQUEST: Final = re.compile(r"refs/pull/(\d+)/")


class CiJob(NamedTuple):
    """A CI job. A retry of the job has the same run IDs and a higher attempt.

    `run_id` identifies the run of this job, and `pipeline_run_id` the run that all jobs of the pipeline share. `shard`
    is the number of a parallel job, from 1. The number of all jobs is unknown, because a pipeline can have others.
    `part` is the name of the job, and `attempt` increases with each execution of the job.
    """

    run_id: str | None = None
    pipeline_run_id: str | None = None
    branch: str | None = None
    commit_sha: str | None = None
    ci_url: str | None = None
    base_branch: str | None = None
    pull_request: str | None = None
    shard: str | None = None
    part: str | None = None
    attempt: str | None = None


def current_job(variables: Mapping[str, str]) -> CiJob:
    """Return the job that these environment variables describe, or an empty job outside of the known CI systems."""
    for marker, describe in SYSTEMS.items():
        if variables.get(marker):
            return _normalize(describe(lambda name: variables.get(name, "")))
    return CiJob()


def _github(get: GetVariable) -> CiJob:
    """Return the job of GitHub Actions. The jobs of a matrix share a run ID, because no variable distinguishes them."""
    pipeline = f"github-{get('GITHUB_RUN_ID')}"
    number = _PULL_REQUEST.match(get("GITHUB_REF"))
    return CiJob(
        run_id=f"{pipeline}-{get('GITHUB_JOB')}",
        pipeline_run_id=pipeline,
        branch=get("GITHUB_HEAD_REF") or get("GITHUB_REF_NAME"),
        commit_sha=_github_commit(get),
        ci_url=f"{get('GITHUB_SERVER_URL')}/{get('GITHUB_REPOSITORY')}/actions/runs/{get('GITHUB_RUN_ID')}",
        base_branch=get("GITHUB_BASE_REF"),
        pull_request=number[1] if number else None,
        part=get("GITHUB_JOB"),
        attempt=get("GITHUB_RUN_ATTEMPT"),
    )


def _github_commit(get: GetVariable) -> str:
    """Return the head commit. GITHUB_SHA of a pull request is a merge commit, which exists in no branch."""
    if not get("GITHUB_HEAD_REF"):
        return get("GITHUB_SHA")
    if not get("GITHUB_EVENT_PATH"):
        print_message("warning: the commit is unknown, because GITHUB_EVENT_PATH isn't set. Use --commit")
        return ""
    try:
        event = json.loads(Path(get("GITHUB_EVENT_PATH")).read_text("utf-8"))
        return str(event["pull_request"]["head"]["sha"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        print_message(
            f"warning: the commit is unknown, because the file GITHUB_EVENT_PATH contains no pull_request.head.sha:"
            f" {error!r}. Use --commit"
        )
        return ""


def _gitlab(get: GetVariable) -> CiJob:
    """Return the job of GitLab.

    GitLab sets the head commit separately only if the job tests a merge commit. Only parallel jobs have an index.
    """
    pipeline = f"gitlab-{get('CI_PIPELINE_ID')}"
    return CiJob(
        run_id=f"{pipeline}-{get('CI_JOB_NAME')}",
        pipeline_run_id=pipeline,
        branch=get("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME") or get("CI_COMMIT_REF_NAME"),
        commit_sha=get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA") or get("CI_COMMIT_SHA"),
        ci_url=get("CI_JOB_URL"),
        base_branch=get("CI_MERGE_REQUEST_TARGET_BRANCH_NAME"),
        pull_request=get("CI_MERGE_REQUEST_IID"),
        shard=_number(get("CI_NODE_INDEX"), first=1),
        part=get("CI_JOB_NAME").removesuffix(f" {get('CI_NODE_INDEX')}/{get('CI_NODE_TOTAL')}"),
        attempt=get("CI_JOB_ID"),
    )


def _buildkite(get: GetVariable) -> CiJob:
    """Return the job of Buildkite.

    Parallel jobs of a step have the same step ID. BUILDKITE_PULL_REQUEST is `false` if the build has no pull request.
    """
    pipeline = f"buildkite-{get('BUILDKITE_BUILD_ID')}"
    number = get("BUILDKITE_PULL_REQUEST")
    return CiJob(
        run_id=_join(pipeline, get("BUILDKITE_STEP_ID"), get("BUILDKITE_PARALLEL_JOB")),
        pipeline_run_id=pipeline,
        branch=get("BUILDKITE_BRANCH"),
        commit_sha=get("BUILDKITE_COMMIT"),
        ci_url=f"{get('BUILDKITE_BUILD_URL')}#{get('BUILDKITE_JOB_ID')}",
        base_branch=get("BUILDKITE_PULL_REQUEST_BASE_BRANCH"),
        pull_request=number if number != "false" else None,
        shard=_number(get("BUILDKITE_PARALLEL_JOB"), first=0),
        part=get("BUILDKITE_STEP_KEY") or get("BUILDKITE_LABEL"),
        attempt=_number(get("BUILDKITE_RETRY_COUNT"), first=0),
    )


def _circleci(get: GetVariable) -> CiJob:
    """Return the job of CircleCI.

    The parallel containers of a job have the same name. CircleCI doesn't state the target branch.
    """
    pipeline = f"circleci-{get('CIRCLE_PIPELINE_ID') or get('CIRCLE_WORKFLOW_ID')}"
    index = get("CIRCLE_NODE_INDEX") if get("CIRCLE_NODE_TOTAL") not in ("", "1") else ""
    return CiJob(
        run_id=_join(pipeline, get("CIRCLE_JOB"), index),
        pipeline_run_id=pipeline,
        branch=get("CIRCLE_BRANCH"),
        commit_sha=get("CIRCLE_SHA1"),
        ci_url=get("CIRCLE_BUILD_URL"),
        pull_request=get("CIRCLE_PULL_REQUEST").rpartition("/")[2],
        shard=_number(index, first=0),
        part=get("CIRCLE_JOB"),
        attempt=get("CIRCLE_BUILD_NUM"),
    )


def _jenkins(get: GetVariable) -> CiJob:
    """Return the build of Jenkins, which is one job and one pipeline.

    The head commit is the one that plugins set, if any, because GIT_COMMIT can be a merge commit.
    """
    return CiJob(
        run_id=get("BUILD_TAG"),
        pipeline_run_id=get("BUILD_TAG"),
        branch=get("CHANGE_BRANCH") or get("ghprbSourceBranch") or get("BRANCH_NAME") or get("GIT_BRANCH"),
        commit_sha=get("ghprbActualCommit") or get("gitlabMergeRequestLastCommit") or get("GIT_COMMIT"),
        ci_url=get("BUILD_URL"),
        base_branch=get("CHANGE_TARGET") or get("ghprbTargetBranch"),
        pull_request=get("CHANGE_ID") or get("ghprbPullId") or get("gitlabMergeRequestIid"),
        part=get("STAGE_NAME"),
    )


def _azure(get: GetVariable) -> CiJob:
    """Return the job of Azure Pipelines.

    The jobs of a matrix have the same name and different positions. Branches begin with refs/heads/.
    """
    build = get("BUILD_BUILDID")
    pipeline = f"azure-{build}"
    position = get("SYSTEM_JOBPOSITIONINPHASE") if get("SYSTEM_TOTALJOBSINPHASE") not in ("", "1") else ""
    head, base = get("SYSTEM_PULLREQUEST_SOURCEBRANCH"), get("SYSTEM_PULLREQUEST_TARGETBRANCH")
    return CiJob(
        run_id=_join(pipeline, get("SYSTEM_STAGENAME"), get("SYSTEM_JOBNAME"), position),
        pipeline_run_id=pipeline,
        branch=(head or get("BUILD_SOURCEBRANCH")).removeprefix("refs/heads/"),
        commit_sha=get("SYSTEM_PULLREQUEST_SOURCECOMMITID") or get("BUILD_SOURCEVERSION"),
        ci_url=f"{get('SYSTEM_COLLECTIONURI')}{get('SYSTEM_TEAMPROJECT')}/_build/results?buildId={build}",
        base_branch=base.removeprefix("refs/heads/"),
        pull_request=get("SYSTEM_PULLREQUEST_PULLREQUESTNUMBER") or get("SYSTEM_PULLREQUEST_PULLREQUESTID"),
        shard=_number(position, first=1),
        part=_join(get("SYSTEM_STAGENAME").replace("__default", ""), get("SYSTEM_JOBNAME")),
        attempt=get("SYSTEM_JOBATTEMPT"),
    )


def _bitbucket(get: GetVariable) -> CiJob:
    """Return the step of Bitbucket Pipelines. Its IDs are UUIDs in braces. Parallel steps have different step IDs."""
    pipeline = f"bitbucket-{get('BITBUCKET_PIPELINE_UUID').strip('{}')}"
    page = f"https://bitbucket.org/{get('BITBUCKET_REPO_FULL_NAME')}/pipelines/results/{get('BITBUCKET_BUILD_NUMBER')}"
    return CiJob(
        run_id=_join(pipeline, get("BITBUCKET_STEP_UUID").strip("{}")),
        pipeline_run_id=pipeline,
        branch=get("BITBUCKET_BRANCH"),
        commit_sha=get("BITBUCKET_COMMIT"),
        ci_url=page,
        base_branch=get("BITBUCKET_PR_DESTINATION_BRANCH"),
        pull_request=get("BITBUCKET_PR_ID"),
        shard=_number(get("BITBUCKET_PARALLEL_STEP"), first=0),
    )


# By a variable that only this system sets.
SYSTEMS: Final[Mapping[str, Callable[[GetVariable], CiJob]]] = {
    "GITHUB_ACTIONS": _github,
    "GITLAB_CI": _gitlab,
    "BUILDKITE": _buildkite,
    "CIRCLECI": _circleci,
    "JENKINS_URL": _jenkins,
    "TF_BUILD": _azure,
    "BITBUCKET_BUILD_NUMBER": _bitbucket,
}


def _join(*parts: str) -> str:
    return "-".join(filter(None, parts))


def _number(index: str, first: int) -> str:
    """Return the number, from 1, of an index that starts at `first`, or an empty text."""
    number = int(index) - first + 1 if index.isascii() and index.isdigit() else 0
    return str(number) if number > 0 else ""


def _normalize(job: CiJob) -> CiJob:
    """Return the job with run IDs that the server accepts, and with None instead of empty text."""
    return CiJob(*(value or None for value in job))._replace(
        run_id=_normalize_run_id(job.run_id),
        pipeline_run_id=_normalize_run_id(job.pipeline_run_id),
        part=_normalize_part(job.part),
        attempt=job.attempt if job.attempt and _ATTEMPT.fullmatch(job.attempt) else None,
    )


def _normalize_run_id(run_id: str | None) -> str | None:
    return _NOT_IN_RUN_ID.sub("-", run_id or "")[:_MAX_RUN_ID] or None


def _normalize_part(name: str | None) -> str | None:
    """Return the name of a job in a form that the server accepts. Different long names stay different."""
    part = _UNPRINTABLE.sub(" ", name or "").strip()
    if len(part) > _MAX_PART:
        digest = hashlib.sha256(part.encode("utf-8", "replace")).hexdigest()[:_DIGEST]
        part = f"{part[: _MAX_PART - _DIGEST - 1]}-{digest}"
    return part or None
