"""Tests of the claims of CI jobs: they equal what the client sends for the same job, and other values are refused."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from service.client.ci import CiJob
from service.domain.errors import Forbidden
from service.identity.publishers.job_claims import (
    MAX_TOKEN_S,
    apply_claims,
    check_origin,
    check_run_id_of_job,
    claims_of_upload,
    describe_job,
    find_unsafe,
    name_repository,
    read_job,
)
from service.identity.publishers.model import JobClaims
from tests.client.recorded_jobs import RecordedJob, recorded_jobs

ISSUERS = {
    "github": "https://token.actions.githubusercontent.com",
    "gitlab": "https://gitlab.example.org",
    "buildkite": "https://agent.buildkite.com",
    "circleci": "https://oidc.circleci.com/org/8c7f0be9-cf3c-4627-9df8-fa7d1cb80b37",
}
GITHUB, GITLAB = ISSUERS["github"], ISSUERS["gitlab"]
RUN = {"run_id": "812", "repository": "acme/shop"}
BUILD = {"organization_slug": "acme", "pipeline_slug": "shop", "build_number": 5, "job_id": "j"}
TIMES = {"iat": 1_000, "exp": 1_300}


def of_github(job: RecordedJob) -> dict[str, Any]:
    get = job.variables.__getitem__
    return {
        "ref": get("GITHUB_REF"), "head_ref": get("GITHUB_HEAD_REF"), "base_ref": get("GITHUB_BASE_REF"),
        "sha": get("GITHUB_SHA"), "run_id": get("GITHUB_RUN_ID"), "repository": get("GITHUB_REPOSITORY"),
        "event_name": get("GITHUB_EVENT_NAME"), "ref_type": get("GITHUB_REF_TYPE"),
    }  # fmt: skip


def of_gitlab(job: RecordedJob) -> dict[str, Any]:
    get = job.variables.__getitem__
    return {
        "ref": get("CI_COMMIT_REF_NAME"), "ref_type": "branch", "sha": get("CI_COMMIT_SHA"),
        "pipeline_id": get("CI_PIPELINE_ID"), "job_id": get("CI_JOB_ID"), "project_path": get("CI_PROJECT_PATH"),
        "pipeline_source": get("CI_PIPELINE_SOURCE"),
    }  # fmt: skip


def of_buildkite(job: RecordedJob) -> dict[str, Any]:
    get = job.variables.__getitem__
    return {
        "build_branch": get("BUILDKITE_BRANCH"), "build_tag": get("BUILDKITE_TAG") or None,
        "build_commit": get("BUILDKITE_COMMIT"), "build_number": int(get("BUILDKITE_BUILD_NUMBER")),
        "build_id": get("BUILDKITE_BUILD_ID"), "job_id": get("BUILDKITE_JOB_ID"),
        "organization_slug": get("BUILDKITE_ORGANIZATION_SLUG"), "pipeline_slug": get("BUILDKITE_PIPELINE_SLUG"),
    }  # fmt: skip


def of_circleci(job: RecordedJob) -> dict[str, Any]:
    get = job.variables.__getitem__
    return {
        "oidc.circleci.com/vcs-ref": f"refs/heads/{get('CIRCLE_BRANCH')}",
        "oidc.circleci.com/pipeline-id": job.variables.get("CIRCLE_PIPELINE_ID"),
        "oidc.circleci.com/workflow-id": get("CIRCLE_WORKFLOW_ID"),
        "oidc.circleci.com/job-id": get("CIRCLE_WORKFLOW_JOB_ID"),
    }


TOKENS: Mapping[str, Callable[[RecordedJob], dict[str, Any]]] = {
    "github": of_github, "gitlab": of_gitlab, "buildkite": of_buildkite, "circleci": of_circleci,
}  # fmt: skip


def fields_of(job: CiJob) -> dict[str, Any]:
    return {name: getattr(job, name) for name in ("branch", "commit_sha", "pull_request", "pipeline")}


def unknown_fields(recorded: RecordedJob) -> set[str]:
    """Return the fields that a token of this job can't state."""
    variables = recorded.variables
    match recorded.system:
        case "github":
            return {"commit_sha"} if variables["GITHUB_HEAD_REF"] else set()
        case "gitlab":
            is_merge = variables["CI_PIPELINE_SOURCE"] == "merge_request_event"
            return {"commit_sha", "pull_request"} if is_merge else {"pull_request"}
        case "buildkite":
            return {"pull_request"}
    return {"commit_sha", "pull_request"} | ({"pipeline"} if "CIRCLE_PIPELINE_ID" not in variables else set())


def test_claims_equal_what_the_client_sends_for_each_recorded_job(tmp_path: Path) -> None:
    recorded = [job for job in recorded_jobs() if job.system in TOKENS]
    assert {job.system for job in recorded} == TOKENS.keys()
    for job in recorded:
        described = describe_job("pub_1", job.system, ISSUERS[job.system], TOKENS[job.system](job))
        sent = fields_of(job.read(tmp_path))
        known = {name: value for name, value in sent.items() if value and name not in unknown_fields(job)}
        assert claims_of_upload(described) == known, job.name
        assert apply_claims(described, sent) == sent, job.name
        assert read_job(described._asdict()) == described


@pytest.mark.parametrize(
    ("provider", "issuer", "claims", "expected"),
    [
        ("github", GITHUB, {**RUN, "sub": "x"}, "https://github.com/acme/shop/actions/runs/812"),
        ("github", "https://ci.acme.example/_services/token", RUN, "https://ci.acme.example/acme/shop/actions/runs/812"),
        ("github", "https://token.actions.acme.ghe.com", RUN, "https://acme.ghe.com/acme/shop/actions/runs/812"),
        ("github", GITHUB, {**RUN, "repository": 'acme/shop" x="', "sub": "repo:acme\n/shop"}, "repo:acme /shop"),
        ("gitlab", GITLAB, {"project_path": "acme/web/shop", "job_id": "77"}, f"{GITLAB}/acme/web/shop/-/jobs/77"),
        ("buildkite", "", BUILD, "https://buildkite.com/acme/shop/builds/5#j"),
        ("circleci", "", {"oidc.circleci.com/job-id": "j"}, "circleci job j"),
        ("oidc", "https://ci.example.org", {"sub": "job\x00 5"}, "job\N{REPLACEMENT CHARACTER} 5"),
        ("oidc", "https://ci.example.org", {"sub": ["x"]}, "unknown job"),
    ],
)  # fmt: skip
def test_job_is_shown_as_the_url_of_its_page_if_its_claims_are_well_formed(
    provider: str, issuer: str, claims: dict[str, Any], expected: str
) -> None:
    assert describe_job("pub_1", provider, issuer, claims).job == expected


@pytest.mark.parametrize(
    ("provider", "claims", "branch"),
    [
        ("github", {"ref": "refs/tags/main"}, "refs/tags/main"),
        ("gitlab", {"ref": "main", "ref_type": "tag"}, "refs/tags/main"),
        ("buildkite", {"build_branch": "main", "build_tag": "main"}, "refs/tags/main"),
        ("buildkite", {"build_branch": "main", "build_tag": "v1"}, "main"),
        ("circleci", {"oidc.circleci.com/vcs-ref": "refs/tags/main"}, "refs/tags/main"),
        ("circleci", {"oidc.circleci.com/vcs-ref": "refs/pull/7/head"}, "pull/7"),
        ("github", {"ref": "refs/pull/7/merge"}, "7/merge"),
        ("github", {"ref": ["refs/heads/main"]}, None),
        ("gitlab", {"ref": True}, None),
        ("oidc", {"ref": "refs/heads/main"}, None),
    ],
)
def test_a_tag_or_pull_request_is_never_the_branch_with_its_name(
    provider: str, claims: dict[str, Any], branch: str | None
) -> None:
    assert describe_job("pub_1", provider, "https://oidc.circleci.com/org/1", claims).branch == branch


@pytest.mark.parametrize(
    ("claims", "pull_request"),
    [
        ({"ref": "refs/heads/gh-readonly-queue/main/pr-12-c0ffee", "event_name": "merge_group"}, "12"),
        ({"ref": "refs/heads/gh-readonly-queue/main/pr-12-c0ffee", "event_name": "push"}, None),
        ({"ref": "refs/heads/gh-readonly-queue/main/pr-12-c0ffee"}, None),
        ({"ref": "refs/pull/7/merge", "head_ref": "gh-readonly-queue/main/pr-12-c0ffee"}, "7"),
        ({"ref": "refs/tags/gh-readonly-queue/main/pr-12-c0ffee"}, None),
    ],
)
def test_only_the_ref_of_a_merge_queue_states_its_pull_request(claims: dict[str, Any], pull_request: str) -> None:
    job = describe_job("pub_1", "github", GITHUB, claims)
    assert job.pull_request == pull_request
    assert find_unsafe("github", {**TIMES, **claims}) is None


@pytest.mark.parametrize(
    ("provider", "claims", "refusal"),
    [
        ("github", {"event_name": "pull_request_target", "head_ref": "x", "base_ref": "main"}, "workflow_run"),
        ("github", {"event_name": "pull_request", "head_ref": "main", "base_ref": "main"}, "fork"),
        ("gitlab", {"exp": 1_000 + MAX_TOKEN_S + 1}, "24 hours"),
        ("github", {"event_name": "pull_request", "head_ref": "x", "base_ref": "main"}, None),
        ("github", {"event_name": "push", "head_ref": "", "base_ref": ""}, None),
        ("oidc", {"event_name": "pull_request_target", "exp": 1_000 + MAX_TOKEN_S}, None),
    ],
)
def test_tokens_that_hide_a_fork_or_are_valid_too_long_are_unsafe(
    provider: str, claims: dict[str, Any], refusal: str | None
) -> None:
    reason = find_unsafe(provider, {**TIMES, **claims})
    assert reason is None if refusal is None else refusal in str(reason)


def test_other_values_of_an_upload_are_refused_and_absent_ones_filled() -> None:
    job = JobClaims("pub_1", "job", branch="fix", pipeline="github-812")
    filled = {"project_id": "shop", "branch": "fix", "pipeline": "github-812", "commit_sha": "c"}
    assert apply_claims(job, {"project_id": "shop", "commit_sha": "c"}) == filled
    for name, value in (("branch", "main"), ("pipeline", "github-8"), ("pipeline", "")):
        with pytest.raises(Forbidden, match=rf"^{name}: must be"):
            apply_claims(job, {name: value})
    tag = JobClaims("pub_1", "job", branch="refs/tags/v1")
    assert apply_claims(tag, {"branch": "v1"}) == apply_claims(tag, {}) == {"branch": "refs/tags/v1"}


def test_a_job_can_only_use_runs_of_its_pipeline_and_branch() -> None:
    job = JobClaims("pub_1", "job", branch="fix", pipeline="github-812")
    check_origin(job, "run", {"pipeline": "github-812", "branch": "fix"})
    for stored in ({"pipeline": "github-811", "branch": "fix"}, {"pipeline": "github-812", "branch": "main"},
                   {"pipeline": None, "branch": "fix"}, {"pipeline": "github-812", "branch": None}):  # fmt: skip
        with pytest.raises(Forbidden, match=r"^run_id"):
            check_origin(job, "run", stored)
    check_origin(JobClaims("pub_1", "job"), "run", {"pipeline": "github-811", "branch": "main"})
    for run_id in ("github-812:shop", "github-812-unit", "github-812", "nightly", "github-nightly-5"):
        check_run_id_of_job(job, run_id)
    for run_id in ("github-813:shop", "github-8", "github-8120:shop", "gitlab-812:shop"):
        with pytest.raises(Forbidden, match=r"^run_id"):
            check_run_id_of_job(job, run_id)


@pytest.mark.parametrize(
    ("provider", "claims", "name"),
    [
        ("github", RUN, "acme/shop"),
        ("gitlab", {"project_path": "acme/web/shop"}, "acme/web/shop"),
        ("buildkite", BUILD, "acme/shop"),
        ("circleci", {"oidc.circleci.com/vcs-origin": "github.com/acme/shop"}, "github.com/acme/shop"),
        ("circleci", {}, None),
        ("oidc", RUN, None),
        ("github", {"repository": "acme/<b>"}, None),
        ("github", {"repository": ["acme/shop"]}, None),
        ("github", {"repository": f"acme/{'x' * 150}"}, None),
    ],
)
def test_name_of_the_repository(provider: str, claims: dict[str, Any], name: str | None) -> None:
    assert name_repository(provider, claims) == name
