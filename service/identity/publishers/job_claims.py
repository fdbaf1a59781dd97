"""The claims of a CI job's ID token as the values of its uploads, and the check of an upload against them.

A value equals the one that our client sends for the same job (client/ci.py). It's None if the token can't state it.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from service.domain.errors import Forbidden
from service.domain.report_fields import parse_merge_queue
from service.domain.texts import replace_unstorable
from service.identity.publishers.model import JobClaims

Claims = Mapping[str, Any]

# Of an upload: the client sends them, and the token of most CI systems states them.
_CLAIMED_FIELDS: Final = ("branch", "commit_sha", "pull_request", "pipeline")
# A job can change only runs with the same values: the jobs of a pipeline share them.
ORIGIN_FIELDS: Final = ("pipeline", "branch")
_MAX_JOB: Final = 500
MAX_TOKEN_S: Final = 24 * 3600  # for this time, upkeep keeps the keys of a token, by which its exchanges are counted
_TAG: Final = "refs/tags/"
_PULL_REQUEST: Final = re.compile(r"refs/pull/(\d{1,18})/.+", re.ASCII)
_REPOSITORY: Final = re.compile(r"[\w.-]+(/[\w.-]+)+", re.ASCII)
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_CIRCLECI: Final = "oidc.circleci.com"
_GITHUB: Final = "token.actions.githubusercontent.com"
_GITHUB_TENANT: Final = re.compile(r"token\.actions\.([\w-]+\.ghe\.com)", re.ASCII)  # with data residency
# The claims whose values, joined by a slash, name the repository for people. Its identity are the IDs of the publisher.
_REPOSITORY_CLAIMS: Final[Mapping[str, tuple[str, ...]]] = {
    "github": ("repository",),
    "gitlab": ("project_path",),
    "buildkite": ("organization_slug", "pipeline_slug"),
    "circleci": ("oidc.circleci.com/vcs-origin",),
}
_MAX_REPOSITORY: Final = 150
# Pipelines of GitLab that can test a merge commit, which the client replaces by the head commit.
_MERGING: Final = ("merge_request_event", "parent_pipeline")
# The start of the run IDs that the client creates for a pipeline.
_RUN_OF_PIPELINE: Final = re.compile(
    r"((?:github|gitlab)-\d+|(?:buildkite|circleci)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:[:-]|$)", re.ASCII
)


def describe_job(publisher_id: str, provider: str, issuer: str, claims: Claims) -> JobClaims:
    """Return the job of an authentic token. Claims of other types than text and integers count as missing."""
    return _PROVIDERS.get(provider, _unknown)(publisher_id, issuer, claims)


def name_repository(provider: str, claims: Claims) -> str | None:
    """Return the name of the repository that an authentic token states, such as `acme/shop`, or None."""
    name = "/".join(_text(claims, claim) for claim in _REPOSITORY_CLAIMS.get(provider, ()))
    return name if len(name) <= _MAX_REPOSITORY and _REPOSITORY.fullmatch(name) else None


def find_unsafe(provider: str, claims: Claims) -> str | None:
    """Return why a job can't get a key although its token matches, or None.

    GitHub's tokens don't state the repository of the head branch. A fork can have a branch named `main`.
    """
    if claims["exp"] - claims["iat"] > MAX_TOKEN_S:
        return f"exp: the token is valid for more than {MAX_TOKEN_S // 3600} hours; request one that expires earlier"
    if provider != "github":
        return None
    if _text(claims, "event_name") == "pull_request_target":
        return (
            "jobs of the event pull_request_target get no key, because their token doesn't state whether the branch is"
            " one of a fork; use the event pull_request, and workflow_run for forks"
        )
    if (head := _text(claims, "head_ref")) and head == _text(claims, "base_ref"):
        return f"the pull request is one of a fork, because its branch {head!r} is also its target"
    return None


def read_job(document: Mapping[str, Any] | None) -> JobClaims | None:
    """Return the stored claims of a key. A later version can store further ones."""
    if document is None:
        return None
    known: dict[str, Any] = {name: document.get(name) for name in JobClaims._fields}
    return JobClaims(**known)


def apply_claims(job: JobClaims, stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an upload with the values of the job. Raises Forbidden if one of them has another value."""
    claimed = claims_of_upload(job)
    for name, value in claimed.items():
        if stated.get(name) is not None and stated[name] not in (value, value.removeprefix(_TAG)):
            raise Forbidden(
                f"{name}: must be {value!r}, because the token of the CI job states this value. Leave it out, or send"
                " the report with another key"
            )
    return {**stated, **claimed}


def claims_of_upload(job: JobClaims) -> dict[str, str]:
    """Return the fields of an upload that the token of the job states."""
    return {name: value for name in _CLAIMED_FIELDS if (value := getattr(job, name)) is not None}


def check_run_id_of_job(job: JobClaims, run_id: str) -> None:
    """Raise Forbidden if the run ID is one that the client creates for another pipeline, which can still begin."""
    match = _RUN_OF_PIPELINE.match(run_id)
    if job.pipeline is not None and match is not None and match[1] != job.pipeline:
        raise Forbidden(
            f"run_id: {run_id!r} is that of another pipeline; the token of the CI job states {job.pipeline}. Use"
            f" {job.pipeline}:<project>, or an ID that isn't one of a pipeline"
        )


def check_origin(job: JobClaims, run_id: str, stored: Mapping[str, str | None]) -> None:
    """Raise Forbidden if a stored run has another pipeline or branch than the token of the job states."""
    for name in ORIGIN_FIELDS:
        if getattr(job, name) not in (None, stored[name]):
            raise Forbidden(
                f"run_id: {run_id!r} is a run of another {name} than {getattr(job, name)!r}, which the token of the CI"
                " job states; use the run of its own pipeline"
            )


def _github(publisher_id: str, issuer: str, claims: Claims) -> JobClaims:
    """Return the job of GitHub Actions. The commit of a pull request is a merge commit, which exists in no branch.

    A merge queue tests a pull request that a person with write access has added, so its branch isn't in a fork.
    `ref` and the event state it: a fork chooses `head_ref`, and anybody with write access can push a branch, which can
    be named like a merge queue.
    """
    ref, head_ref, run_id = _text(claims, "ref"), _text(claims, "head_ref"), _text(claims, "run_id")
    pull_request = _PULL_REQUEST.fullmatch(ref)
    queued = parse_merge_queue(ref)[1] if _text(claims, "event_name") == "merge_group" else ""
    repository, host = _text(claims, "repository"), _github_host(issuer)
    is_page = host and run_id.isdigit() and _REPOSITORY.fullmatch(repository)
    return JobClaims(
        publisher_id,
        f"https://{host}/{repository}/actions/runs/{run_id}" if is_page else _unnamed(claims),
        branch=head_ref or _branch(ref).removeprefix("refs/pull/") or None,
        commit_sha=None if head_ref else _commit(claims, "sha"),
        pull_request=pull_request[1] if pull_request else queued or None,
        pipeline=f"github-{run_id}" if run_id else None,
    )


def _github_host(issuer: str) -> str:
    """Return the host of the pages of the repositories: the tokens of GitHub Enterprise Server are from its own."""
    host = urlsplit(issuer).hostname or ""
    tenant = _GITHUB_TENANT.fullmatch(host)
    return "github.com" if host == _GITHUB else tenant[1] if tenant else host


def _gitlab(publisher_id: str, issuer: str, claims: Claims) -> JobClaims:
    """Return the job of GitLab. `ref` is the source branch of a merge request, whose number the token doesn't state."""
    ref, pipeline = _text(claims, "ref"), _text(claims, "pipeline_id")
    project, job = _text(claims, "project_path"), _text(claims, "job_id")
    is_page = job.isdigit() and _REPOSITORY.fullmatch(project)
    is_merge = _text(claims, "pipeline_source") in _MERGING
    return JobClaims(
        publisher_id,
        f"{issuer}/{project}/-/jobs/{job}" if is_page else _unnamed(claims),
        branch=(_TAG if ref and _text(claims, "ref_type") == "tag" else "") + ref or None,
        commit_sha=None if is_merge else _commit(claims, "sha"),
        pipeline=f"gitlab-{pipeline}" if pipeline else None,
    )


def _buildkite(publisher_id: str, _issuer: str, claims: Claims) -> JobClaims:
    """Return the job of Buildkite. `build_id` is in the token if the job requests it with `--claim build_id`.

    A build of a tag has the name of the tag as its branch. The commit of a build can be HEAD.
    """
    branch, build_id = _text(claims, "build_branch"), _text(claims, "build_id")
    pipeline = f"{_text(claims, 'organization_slug')}/{_text(claims, 'pipeline_slug')}"
    number, job = _text(claims, "build_number"), _text(claims, "job_id")
    is_page = number.isdigit() and _REPOSITORY.fullmatch(pipeline)
    is_tag = branch and branch == _text(claims, "build_tag")
    return JobClaims(
        publisher_id,
        f"https://buildkite.com/{pipeline}/builds/{number}#{job}" if is_page else _unnamed(claims),
        branch=(_TAG if is_tag else "") + branch or None,
        commit_sha=_commit(claims, "build_commit"),
        pipeline=f"buildkite-{build_id}" if build_id else None,
    )


def _circleci(publisher_id: str, issuer: str, claims: Claims) -> JobClaims:
    """Return the job of CircleCI, whose token states no commit. The branch of a pull request of a fork is `pull/7`.

    Jobs of CircleCI Server don't have the variable with the ID of the pipeline that their token can state.
    """
    ref = _text(claims, "oidc.circleci.com/vcs-ref")
    pull_request = _PULL_REQUEST.fullmatch(ref)
    pipeline = _text(claims, "oidc.circleci.com/pipeline-id") if urlsplit(issuer).hostname == _CIRCLECI else ""
    job = _text(claims, "oidc.circleci.com/job-id")
    return JobClaims(
        publisher_id,
        f"circleci job {job}"[:_MAX_JOB] if job else _unnamed(claims),
        branch=f"pull/{pull_request[1]}" if pull_request else _branch(ref) or None,
        pipeline=f"circleci-{pipeline}" if pipeline else None,
    )


def _unknown(publisher_id: str, _issuer: str, claims: Claims) -> JobClaims:
    """Return the job of another issuer, whose claims have no known meaning."""
    return JobClaims(publisher_id, _unnamed(claims))


_PROVIDERS: Final[Mapping[str, Callable[[str, str, Claims], JobClaims]]] = {
    "github": _github,
    "gitlab": _gitlab,
    "buildkite": _buildkite,
    "circleci": _circleci,
}


def _unnamed(claims: Claims) -> str:
    """Return the subject of a token that doesn't identify its job."""
    shown = "".join(character if character.isprintable() else " " for character in _text(claims, "sub"))
    return shown[:_MAX_JOB].strip() or "unknown job"


def _branch(ref: str) -> str:
    """Return the name of a branch. A tag keeps its prefix.

    The permission to push tags isn't the permission to push branches.
    """
    return ref.removeprefix("refs/heads/")


def _commit(claims: Claims, name: str) -> str | None:
    text = _text(claims, name)
    return text if _COMMIT.fullmatch(text) else None


def _text(claims: Claims, name: str) -> str:
    """Return the text of a claim, which can be an integer, or an empty text."""
    value = claims.get(name)
    return replace_unstorable(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else ""
