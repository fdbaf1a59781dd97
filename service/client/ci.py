"""The current CI job: its metadata, which are the default metadata of a report, and the IDs of its runs.

docs/guides/ci.md lists the variables of each field.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from service.client.terminal import print_message
from service.domain.report_fields import check_https_url, parse_merge_queue
from service.runs.model import UNTRUSTED_PREFIX

GetVariable = Callable[[str], str]  # returns an empty string for a variable that isn't set

_MAX_NAME: Final = 200  # characters
_DIGEST: Final = 12  # hex digits after the start of a name that is too long
_ATTEMPT: Final = re.compile(r"[1-9][0-9]{0,14}", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_SSH: Final = re.compile(r"(?:ssh://)?[^@/]+@([^:/]+)(?::\d+/|[:/])/*(.+)")  # also git@github.com:acme/shop.git
_HOSTED: Final = re.compile(r"(?:https?|git)://(?:[^@/]*@)?([^/]+)/(.+)")
_MAX_RUN_ID: Final = 200
_RUN_ID_START: Final = 180  # characters before the digest of a run ID that was changed
_NOT_IN_RUN_ID: Final = re.compile(r"[^\x21-\x7e]+")
_PULL_REQUEST: Final = re.compile(r"refs/pull/(\d+)/")
_DEFAULT: Final = "__default"  # the stage or job that a pipeline of Azure doesn't name


class CiJob(NamedTuple):
    """A CI job. A retry of the job has the same run IDs and a higher attempt.

    `run_id` identifies the run of this job. `pipeline` is the pipeline with its system, such as `github-812`, from
    which `pipeline_run_id` creates the ID of the run that all jobs of a project share. `shard` is the number of a
    parallel job, from 1, and `shards` the number of these parallel jobs. The number of all jobs is unknown, because a
    pipeline can have others. `part` is the name of the job, and `attempt` increases with each execution of the job.
    `ci_url` is the page of the pipeline or of the job, and `job_url` the most specific one. The jobs of a pull request
    from a fork have no secrets (`is_fork`).
    """

    run_id: str | None = None
    pipeline: str | None = None
    branch: str | None = None
    commit_sha: str | None = None
    ci_url: str | None = None
    base_branch: str | None = None
    pull_request: str | None = None
    shard: str | None = None
    shards: str | None = None
    part: str | None = None
    attempt: str | None = None
    title: str | None = None
    author: str | None = None
    workflow: str | None = None
    job_url: str | None = None
    repository_url: str | None = None
    is_fork: bool = False


def current_job(variables: Mapping[str, str]) -> CiJob:
    """Return the job that these environment variables describe, or an empty job outside of the known CI systems."""
    for marker, describe in SYSTEMS.items():
        if variables.get(marker):
            return _normalize(describe(lambda name: variables.get(name, "")))
    return CiJob()


def pipeline_run_id(pipeline: str, project: str) -> str:
    """Return the ID of the run that the jobs of a pipeline share in a project, such as `github-812:shop`."""
    text = f"{pipeline}:{project}"
    run_id = _NOT_IN_RUN_ID.sub("-", text)
    if run_id == text and len(text) <= _MAX_RUN_ID:
        return text
    return f"{run_id[:_RUN_ID_START]}-{_digest(text)}"


def earlier_run_id(pipeline: str) -> str:
    """Return the ID of the run of a pipeline that earlier clients use for all projects: `github-812`."""
    return _NOT_IN_RUN_ID.sub("-", pipeline)[:_MAX_RUN_ID]


def untrusted_run_id(run_id: str) -> str:
    """Return the ID of the untrusted run that a pull request from a fork sends instead of this run."""
    text = f"{UNTRUSTED_PREFIX}{run_id}"
    return text if len(text) <= _MAX_RUN_ID else f"{text[:_RUN_ID_START]}-{_digest(text)}"


def promoted_pipeline(job: CiJob, variables: Mapping[str, str]) -> str | None:
    """Return the pipeline whose untrusted runs a job promotes: on GitHub, the workflow that triggered it."""
    if not (variables.get("GITHUB_ACTIONS") and variables.get("GITHUB_EVENT_NAME") == "workflow_run"):
        return job.pipeline
    run_id = GitHubEvent(variables.get("GITHUB_EVENT_PATH", "")).number("workflow_run", "id")
    return f"github-{run_id}" if run_id else None


class GitHubEvent:
    """The event in the file that GITHUB_EVENT_PATH names. `problem` states why the file can't be read."""

    def __init__(self, path: str) -> None:
        self.problem = "" if path else "GITHUB_EVENT_PATH isn't set"
        self._document: Any = None
        try:
            self._document = json.loads(Path(path).read_text("utf-8")) if path else None
        except (OSError, ValueError) as error:
            self.problem = f"the file GITHUB_EVENT_PATH can't be read: {error!r}"

    def text(self, *names: str) -> str:
        """Return the text at this path, or an empty text."""
        value = self._find(names)
        return value if isinstance(value, str) else ""

    def number(self, *names: str) -> int | None:
        """Return the number at this path, or None."""
        value = self._find(names)
        return value if isinstance(value, int) else None

    def _find(self, names: Iterable[str]) -> Any:
        value = self._document
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return value


def _github(get: GetVariable) -> CiJob:
    """Return the job of GitHub Actions. The jobs of a matrix share a run ID, because no variable distinguishes them.

    The author wrote the pull request or commit: GITHUB_ACTOR is the person who pushed or merged it. Only GITHUB_REF
    states the pull request: a fork chooses GITHUB_HEAD_REF, which can be named like a merge queue. So can a pushed
    branch, which is another event.
    """
    event = GitHubEvent(get("GITHUB_EVENT_PATH"))
    pipeline = f"github-{get('GITHUB_RUN_ID')}"
    pull_request = _PULL_REQUEST.match(get("GITHUB_REF"))
    queued = parse_merge_queue(get("GITHUB_REF"))[1] if get("GITHUB_EVENT_NAME") == "merge_group" else ""
    repository = f"{get('GITHUB_SERVER_URL')}/{get('GITHUB_REPOSITORY')}"
    page = f"{repository}/actions/runs/{get('GITHUB_RUN_ID')}"
    return CiJob(
        run_id=f"{pipeline}-{get('GITHUB_JOB')}",
        pipeline=pipeline,
        branch=get("GITHUB_HEAD_REF") or get("GITHUB_REF_NAME"),
        commit_sha=_github_commit(get, event),
        ci_url=page,
        base_branch=get("GITHUB_BASE_REF") or event.text("merge_group", "base_ref").removeprefix("refs/heads/"),
        pull_request=pull_request[1] if pull_request else queued,
        part=get("GITHUB_JOB"),
        attempt=get("GITHUB_RUN_ATTEMPT"),
        title=(
            event.text("pull_request", "title")
            or event.text("head_commit", "message")
            or event.text("merge_group", "head_commit", "message")
        ),
        author=_github_author(get, event),
        workflow=get("GITHUB_WORKFLOW"),
        job_url=f"{page}/attempts/{get('GITHUB_RUN_ATTEMPT')}" if get("GITHUB_RUN_ATTEMPT") else None,
        repository_url=_https_url(repository),
        is_fork=_is_github_fork(get, event),
    )


def _github_commit(get: GetVariable, event: GitHubEvent) -> str:
    """Return the head commit. GITHUB_SHA of a pull request is a merge commit, which exists in no branch."""
    if not get("GITHUB_HEAD_REF"):
        return get("GITHUB_SHA")
    head = event.text("pull_request", "head", "sha")
    if not head:
        problem = event.problem or "the file GITHUB_EVENT_PATH contains no pull_request.head.sha"
        print_message(f"warning: the commit is unknown, because {problem}. Use --commit")
    return head


def _github_author(get: GetVariable, event: GitHubEvent) -> str:
    """Return the login of the author. The actor of a schedule isn't related to the commit."""
    actor = "" if get("GITHUB_EVENT_NAME") == "schedule" else get("GITHUB_ACTOR")
    return event.text("pull_request", "user", "login") or event.text("head_commit", "author", "username") or actor


def _is_github_fork(get: GetVariable, event: GitHubEvent) -> bool:
    """Return whether the job has no secrets. The repository of a deleted fork is null.

    A workflow of the event pull_request_target has secrets.
    """
    base = event.text("pull_request", "base", "repo", "full_name")
    head = event.text("pull_request", "head", "repo", "full_name")
    return bool(base) and head != base and get("GITHUB_EVENT_NAME") != "pull_request_target"


def _gitlab(get: GetVariable) -> CiJob:
    """Return the job of GitLab.

    GitLab sets the head commit separately only if the job tests a merge commit. Only parallel jobs have an index. A
    pipeline can belong to a fork, and its merge request to the target project.
    """
    pipeline = f"gitlab-{get('CI_PIPELINE_ID')}"
    is_schedule = get("CI_PIPELINE_SOURCE") == "schedule"  # its user isn't related to the commit
    return CiJob(
        run_id=f"{pipeline}-{get('CI_JOB_NAME')}",
        pipeline=pipeline,
        branch=get("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME") or get("CI_COMMIT_REF_NAME"),
        commit_sha=get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA") or get("CI_COMMIT_SHA"),
        ci_url=get("CI_JOB_URL"),
        base_branch=get("CI_MERGE_REQUEST_TARGET_BRANCH_NAME"),
        pull_request=get("CI_MERGE_REQUEST_IID"),
        shard=_number(get("CI_NODE_INDEX"), first=1),
        shards=_number(get("CI_NODE_TOTAL"), first=1),
        part=get("CI_JOB_NAME").removesuffix(f" {get('CI_NODE_INDEX')}/{get('CI_NODE_TOTAL')}"),
        attempt=get("CI_JOB_ID"),
        title=get("CI_MERGE_REQUEST_TITLE") or get("CI_COMMIT_TITLE"),
        author="" if is_schedule else get("GITLAB_USER_LOGIN"),
        workflow=get("CI_PIPELINE_NAME"),
        job_url=get("CI_JOB_URL"),
        repository_url=_https_url(get("CI_MERGE_REQUEST_PROJECT_URL") or get("CI_PROJECT_URL")),
        is_fork=get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID") != get("CI_MERGE_REQUEST_PROJECT_ID"),
    )


def _buildkite(get: GetVariable) -> CiJob:
    """Return the job of Buildkite.

    Parallel jobs of a step have the same step ID. BUILDKITE_PULL_REQUEST is `false` if the build has no pull request.
    """
    pipeline = f"buildkite-{get('BUILDKITE_BUILD_ID')}"
    pull_request = get("BUILDKITE_PULL_REQUEST").replace("false", "")
    base_branch, queued = parse_merge_queue("" if pull_request else get("BUILDKITE_BRANCH"))
    page = f"{get('BUILDKITE_BUILD_URL')}#{get('BUILDKITE_JOB_ID')}"
    repository, source = get("BUILDKITE_REPO"), get("BUILDKITE_PULL_REQUEST_REPO")
    return CiJob(
        run_id=_join(pipeline, get("BUILDKITE_STEP_ID"), get("BUILDKITE_PARALLEL_JOB")),
        pipeline=pipeline,
        branch=get("BUILDKITE_BRANCH"),
        commit_sha=get("BUILDKITE_COMMIT"),
        ci_url=page,
        base_branch=get("BUILDKITE_PULL_REQUEST_BASE_BRANCH") or base_branch,
        pull_request=pull_request or queued,
        shard=_number(get("BUILDKITE_PARALLEL_JOB"), first=0),
        shards=_number(get("BUILDKITE_PARALLEL_JOB_COUNT"), first=1),
        part=get("BUILDKITE_STEP_KEY") or get("BUILDKITE_LABEL"),
        attempt=_number(get("BUILDKITE_RETRY_COUNT"), first=0),
        title=get("BUILDKITE_MESSAGE"),
        author=get("BUILDKITE_BUILD_AUTHOR") or get("BUILDKITE_BUILD_CREATOR"),
        workflow=get("BUILDKITE_PIPELINE_NAME"),
        job_url=page,
        repository_url=_repository_url(repository),
        is_fork=_is_other_repository(source, repository),
    )


def _is_other_repository(first: str, second: str) -> bool:
    """Return whether two remotes certainly belong to different repositories.

    A remote can name its host by an alias of SSH, so only the paths count. Code hosts ignore the case of names.
    """
    names = [_repository_path(remote).partition("/")[2].casefold() for remote in (first, second)]
    return all(names) and names[0] != names[1]


def _circleci(get: GetVariable) -> CiJob:
    """Return the job of CircleCI.

    The parallel containers of a job have the same name. CircleCI states a target branch only in the branch of a merge
    queue, no title, and the name of the repository of a pull request only if that is a fork.
    """
    pipeline = f"circleci-{get('CIRCLE_PIPELINE_ID') or get('CIRCLE_WORKFLOW_ID')}"
    pull_request = get("CIRCLE_PULL_REQUEST").rpartition("/")[2]
    base_branch, queued = parse_merge_queue("" if pull_request else get("CIRCLE_BRANCH"))
    index = get("CIRCLE_NODE_INDEX") if get("CIRCLE_NODE_TOTAL") not in ("", "1") else ""
    return CiJob(
        run_id=_join(pipeline, get("CIRCLE_JOB"), index),
        pipeline=pipeline,
        branch=get("CIRCLE_BRANCH"),
        commit_sha=get("CIRCLE_SHA1"),
        ci_url=get("CIRCLE_BUILD_URL"),
        base_branch=base_branch,
        pull_request=pull_request or queued,
        shard=_number(index, first=0),
        shards=_number(get("CIRCLE_NODE_TOTAL"), first=1),
        part=get("CIRCLE_JOB"),
        attempt=get("CIRCLE_BUILD_NUM"),
        author=get("CIRCLE_PR_USERNAME") or get("CIRCLE_USERNAME"),
        job_url=get("CIRCLE_BUILD_URL"),
        repository_url=_repository_url(get("CIRCLE_REPOSITORY_URL")),
        is_fork=bool(get("CIRCLE_PR_REPONAME")),
    )


def _jenkins(get: GetVariable) -> CiJob:
    """Return the build of Jenkins, which is one job and one pipeline. BUILD_TAG begins with `jenkins-`.

    The head commit is the one that plugins set, if any, because GIT_COMMIT can be a merge commit.
    """
    return CiJob(
        run_id=get("BUILD_TAG"),
        pipeline=get("BUILD_TAG"),
        branch=get("CHANGE_BRANCH") or get("ghprbSourceBranch") or get("BRANCH_NAME") or get("GIT_BRANCH"),
        commit_sha=get("ghprbActualCommit") or get("gitlabMergeRequestLastCommit") or get("GIT_COMMIT"),
        ci_url=get("BUILD_URL"),
        base_branch=get("CHANGE_TARGET") or get("ghprbTargetBranch"),
        pull_request=get("CHANGE_ID") or get("ghprbPullId") or get("gitlabMergeRequestIid"),
        part=get("STAGE_NAME"),
        title=get("CHANGE_TITLE") or get("ghprbPullTitle") or get("gitlabMergeRequestTitle"),
        author=get("CHANGE_AUTHOR") or get("ghprbPullAuthorLogin") or get("gitlabUserUsername"),
        workflow=get("JOB_NAME"),
        job_url=get("BUILD_URL"),
        repository_url=_repository_url(get("GIT_URL")),
        is_fork=bool(get("CHANGE_FORK")),
    )


def _azure(get: GetVariable) -> CiJob:
    """Return the job of Azure Pipelines. Branches begin with refs/heads/.

    SYSTEM_PHASENAME is the job of the file, and SYSTEM_JOBNAME the key of its matrix. The message of a pull request is
    the message of its merge commit, which is no title, and the person for whom the build was requested can be `GitHub`.
    """
    build = get("BUILD_BUILDID")
    pipeline = f"azure-{build}"
    part = _azure_part(get)
    position = get("SYSTEM_JOBPOSITIONINPHASE") if get("SYSTEM_TOTALJOBSINPHASE") not in ("", "1") else ""
    head, base = get("SYSTEM_PULLREQUEST_SOURCEBRANCH"), get("SYSTEM_PULLREQUEST_TARGETBRANCH")
    page = f"{get('SYSTEM_COLLECTIONURI')}{quote(get('SYSTEM_TEAMPROJECT'))}/_build/results?buildId={build}"
    return CiJob(
        run_id=_join(pipeline, part, position),
        pipeline=pipeline,
        branch=(head or get("BUILD_SOURCEBRANCH")).removeprefix("refs/heads/"),
        commit_sha=get("SYSTEM_PULLREQUEST_SOURCECOMMITID") or get("BUILD_SOURCEVERSION"),
        ci_url=page,
        base_branch=base.removeprefix("refs/heads/"),
        pull_request=get("SYSTEM_PULLREQUEST_PULLREQUESTNUMBER") or get("SYSTEM_PULLREQUEST_PULLREQUESTID"),
        shard=_number(position, first=1),
        shards=_number(get("SYSTEM_TOTALJOBSINPHASE"), first=1),
        part=part,
        attempt=get("SYSTEM_JOBATTEMPT"),
        title="" if head else get("BUILD_SOURCEVERSIONMESSAGE"),
        author=get("BUILD_SOURCEVERSIONAUTHOR") or get("BUILD_REQUESTEDFOR"),
        workflow=get("BUILD_DEFINITIONNAME"),
        job_url=f"{page}&view=logs&j={get('SYSTEM_JOBID')}",
        repository_url=_repository_url(get("BUILD_REPOSITORY_URI")),
        is_fork=get("SYSTEM_PULLREQUEST_ISFORK") == "True",
    )


def _azure_part(get: GetVariable) -> str:
    """Return the stage, the job, and the key of its matrix, as far as the pipeline names them."""
    names = [get("SYSTEM_STAGENAME"), get("SYSTEM_PHASENAME"), get("SYSTEM_JOBNAME")]
    if names[1] == names[2]:  # earlier versions repeat the name of the job
        names.pop()
    return _join(*(name for name in names if name != _DEFAULT))


def _bitbucket(get: GetVariable) -> CiJob:
    """Return the step of Bitbucket Pipelines. Its IDs are UUIDs in braces. Parallel steps have different step IDs.

    Bitbucket states neither the name of a step nor an author, and doesn't execute the pipelines of forks here.
    """
    pipeline = f"bitbucket-{get('BITBUCKET_PIPELINE_UUID').strip('{}')}"
    repository = f"https://bitbucket.org/{get('BITBUCKET_REPO_FULL_NAME')}"
    page = f"{repository}/pipelines/results/{get('BITBUCKET_BUILD_NUMBER')}"
    return CiJob(
        run_id=_join(pipeline, get("BITBUCKET_STEP_UUID").strip("{}")),
        pipeline=pipeline,
        branch=get("BITBUCKET_BRANCH"),
        commit_sha=get("BITBUCKET_COMMIT"),
        ci_url=page,
        base_branch=get("BITBUCKET_PR_DESTINATION_BRANCH"),
        pull_request=get("BITBUCKET_PR_ID"),
        shard=_number(get("BITBUCKET_PARALLEL_STEP"), first=0),
        shards=_number(get("BITBUCKET_PARALLEL_STEP_COUNT"), first=1),
        attempt=get("BITBUCKET_STEP_RUN_NUMBER"),
        job_url=f"{page}/steps/{quote(get('BITBUCKET_STEP_UUID'))}",
        repository_url=_https_url(repository),
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


def _normalize(job: CiJob) -> CiJob:
    """Return the job with values that the server accepts, and with None instead of empty text."""
    empty: dict[str, Any] = {name: None for name, value in job._asdict().items() if value == ""}
    return job._replace(**empty)._replace(
        run_id=_NOT_IN_RUN_ID.sub("-", job.run_id or "")[:_MAX_RUN_ID] or None,
        pipeline=_identifier(job.pipeline or "") or None,
        part=_identifier(job.part or "") or None,
        attempt=job.attempt if _ATTEMPT.fullmatch(job.attempt or "") else None,
        title=first_line(job.title or "") or None,
        author=first_line(job.author or "") or None,
        workflow=first_line(job.workflow or "") or None,
        job_url=_https_url(job.job_url or "") or None,
    )


def first_line(text: str) -> str:
    """Return the first line of a message, with an ellipsis if it is too long for a title."""
    line = _CONTROL.sub(" ", text.strip().partition("\n")[0]).strip()
    return line if len(line) <= _MAX_NAME else f"{line[: _MAX_NAME - 1]}…"


def _identifier(text: str) -> str:
    """Return the name of a job or pipeline without unprintable characters. Different long names stay different."""
    shown = "".join(" " if unicodedata.category(character).startswith("C") else character for character in text).strip()
    return shown if len(shown) <= _MAX_NAME else f"{shown[: _MAX_NAME - _DIGEST - 1]}-{_digest(shown)}"


def _digest(text: str) -> str:
    """Return 12 hex digits that distinguish the text."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:_DIGEST]


def _number(index: str, first: int) -> str:
    """Return the number, from 1, of an index that starts at `first`, or an empty text."""
    counted = int(index) - first + 1 if index.isascii() and index.isdigit() else 0
    return str(counted) if counted > 0 else ""


def _join(*parts: str) -> str:
    """Return the parts that aren't empty, with hyphens between them."""
    return "-".join(filter(None, parts))


def _https_url(text: str) -> str:
    """Return a URL that the server accepts, or an empty text: other schemes aren't links, and a password is secret."""
    try:
        return check_https_url(text)
    except ValueError:
        return ""


def _repository_url(remote: str) -> str:
    """Return the page of the repository with this remote, without user and password, or an empty text.

    A remote that is accessed with SSH or git:// has its page at the same host and path.
    """
    return "" if remote.startswith("http://") else _https_url(f"https://{_repository_path(remote)}")


def _repository_path(remote: str) -> str:
    """Return the host and path of a remote, which all remotes of a repository share, or an empty text."""
    match = _HOSTED.fullmatch(remote) or _SSH.fullmatch(remote)
    return f"{match[1]}/{match[2]}".rstrip("/").removesuffix(".git") if match else ""
