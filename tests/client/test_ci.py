"""The metadata of a CI job is read from the variables that each CI system sets."""

from pathlib import Path

import pytest

from service.client.arguments import skipped_jobs
from service.client.ci import CiJob, current_job

GITHUB = {
    "GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "12", "GITHUB_RUN_ATTEMPT": "2", "GITHUB_JOB": "test",
    "GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "o/r", "GITHUB_REF": "refs/heads/main",
    "GITHUB_REF_NAME": "main", "GITHUB_SHA": "abc",
}  # fmt: skip


@pytest.mark.parametrize(
    ("variables", "job"),
    [
        (
            GITHUB,
            CiJob("github-12-test", "github-12", "main", "abc", "https://github.com/o/r/actions/runs/12", part="test",
                  attempt="2"),
        ),
        (
            {"GITLAB_CI": "true", "CI_PIPELINE_ID": "7", "CI_JOB_ID": "99", "CI_JOB_NAME": "test: [py 3.12]",
             "CI_COMMIT_REF_NAME": "main", "CI_COMMIT_SHA": "abc", "CI_JOB_URL": "https://g/99"},
            CiJob("gitlab-7-test:-[py-3.12]", "gitlab-7", "main", "abc", "https://g/99", part="test: [py 3.12]",
                  attempt="99"),
        ),
        (
            {"GITLAB_CI": "true", "CI_PIPELINE_ID": "7", "CI_JOB_NAME": "test 2/3", "CI_NODE_INDEX": "2",
             "CI_NODE_TOTAL": "3"},
            CiJob("gitlab-7-test-2/3", "gitlab-7", shard="2", part="test"),
        ),
        (
            {"GITLAB_CI": "true", "CI_PIPELINE_ID": "7", "CI_JOB_NAME": "test", "CI_NODE_TOTAL": "1"},
            CiJob("gitlab-7-test", "gitlab-7", part="test"),
        ),
        (
            {"GITLAB_CI": "true", "CI_PIPELINE_ID": "7", "CI_JOB_NAME": "test", "CI_COMMIT_SHA": "merge",
             "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "fix", "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": "head",
             "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main", "CI_MERGE_REQUEST_IID": "3"},
            CiJob("gitlab-7-test", "gitlab-7", "fix", "head", None, "main", "3", part="test"),
        ),
        (
            {"BUILDKITE": "true", "BUILDKITE_BUILD_ID": "b", "BUILDKITE_STEP_ID": "s", "BUILDKITE_JOB_ID": "j",
             "BUILDKITE_PARALLEL_JOB": "0", "BUILDKITE_BUILD_URL": "https://b/1", "BUILDKITE_BRANCH": "main",
             "BUILDKITE_COMMIT": "abc", "BUILDKITE_PULL_REQUEST": "false", "BUILDKITE_LABEL": "Unit",
             "BUILDKITE_STEP_KEY": "unit", "BUILDKITE_RETRY_COUNT": "1"},
            CiJob("buildkite-b-s-0", "buildkite-b", "main", "abc", "https://b/1#j", shard="1", part="unit",
                  attempt="2"),
        ),
        (
            {"BUILDKITE": "true", "BUILDKITE_BUILD_ID": "b", "BUILDKITE_STEP_ID": "s", "BUILDKITE_JOB_ID": "j",
             "BUILDKITE_BUILD_URL": "https://b/1", "BUILDKITE_BRANCH": "fix", "BUILDKITE_PULL_REQUEST": "12",
             "BUILDKITE_PULL_REQUEST_BASE_BRANCH": "main", "BUILDKITE_LABEL": "Unit", "BUILDKITE_STEP_KEY": "",
             "BUILDKITE_RETRY_COUNT": "0"},
            CiJob("buildkite-b-s", "buildkite-b", "fix", None, "https://b/1#j", "main", "12", part="Unit",
                  attempt="1"),
        ),
        (
            {"CIRCLECI": "true", "CIRCLE_PIPELINE_ID": "p", "CIRCLE_WORKFLOW_ID": "w", "CIRCLE_JOB": "test",
             "CIRCLE_NODE_INDEX": "3", "CIRCLE_NODE_TOTAL": "4", "CIRCLE_BRANCH": "fix", "CIRCLE_SHA1": "abc",
             "CIRCLE_PULL_REQUEST": "https://github.com/o/r/pull/12", "CIRCLE_BUILD_NUM": "1207"},
            CiJob("circleci-p-test-3", "circleci-p", "fix", "abc", None, None, "12", "4", "test", "1207"),
        ),
        (
            {"CIRCLECI": "true", "CIRCLE_WORKFLOW_ID": "w", "CIRCLE_JOB": "test", "CIRCLE_NODE_INDEX": "0",
             "CIRCLE_NODE_TOTAL": "1", "CIRCLE_BUILD_URL": "https://c/1"},
            CiJob("circleci-w-test", "circleci-w", None, None, "https://c/1", part="test"),
        ),
        (
            {"JENKINS_URL": "https://j", "BUILD_TAG": "jenkins-shop-7", "GIT_BRANCH": "origin/main",
             "GIT_COMMIT": "abc", "BUILD_URL": "https://j/7", "STAGE_NAME": "test"},
            CiJob("jenkins-shop-7", "jenkins-shop-7", "origin/main", "abc", "https://j/7", part="test"),
        ),
        (
            {"JENKINS_URL": "https://j", "BUILD_TAG": "t", "BRANCH_NAME": "PR-3", "CHANGE_BRANCH": "fix",
             "CHANGE_TARGET": "main", "CHANGE_ID": "3"},
            CiJob("t", "t", "fix", None, None, "main", "3"),
        ),
        (
            {"JENKINS_URL": "https://j", "BUILD_TAG": "t", "GIT_COMMIT": "merge", "ghprbActualCommit": "head",
             "ghprbSourceBranch": "fix", "ghprbTargetBranch": "main", "ghprbPullId": "3"},
            CiJob("t", "t", "fix", "head", None, "main", "3"),
        ),
        (
            {"TF_BUILD": "True", "BUILD_BUILDID": "8", "SYSTEM_STAGENAME": "__default", "SYSTEM_JOBNAME": "test",
             "SYSTEM_JOBPOSITIONINPHASE": "2", "SYSTEM_TOTALJOBSINPHASE": "3", "BUILD_SOURCEBRANCH": "refs/heads/a/b",
             "BUILD_SOURCEVERSION": "abc", "SYSTEM_COLLECTIONURI": "https://dev.azure.com/o/",
             "SYSTEM_TEAMPROJECT": "p", "SYSTEM_JOBATTEMPT": "3"},
            CiJob("azure-8-__default-test-2", "azure-8", "a/b", "abc",
                  "https://dev.azure.com/o/p/_build/results?buildId=8", shard="2", part="test", attempt="3"),
        ),
        (
            {"TF_BUILD": "True", "BUILD_BUILDID": "8", "SYSTEM_JOBNAME": "test", "BUILD_SOURCEVERSION": "merge",
             "BUILD_SOURCEBRANCH": "refs/pull/3/merge", "SYSTEM_PULLREQUEST_SOURCEBRANCH": "refs/heads/fix",
             "SYSTEM_PULLREQUEST_TARGETBRANCH": "refs/heads/main", "SYSTEM_PULLREQUEST_SOURCECOMMITID": "head",
             "SYSTEM_PULLREQUEST_PULLREQUESTID": "77", "SYSTEM_PULLREQUEST_PULLREQUESTNUMBER": "3",
             "SYSTEM_COLLECTIONURI": "https://a/", "SYSTEM_TEAMPROJECT": "p"},
            CiJob("azure-8-test", "azure-8", "fix", "head", "https://a/p/_build/results?buildId=8", "main", "3",
                  part="test"),
        ),
        (
            {"BITBUCKET_BUILD_NUMBER": "8", "BITBUCKET_PIPELINE_UUID": "{p}", "BITBUCKET_STEP_UUID": "{s}",
             "BITBUCKET_REPO_FULL_NAME": "o/r", "BITBUCKET_BRANCH": "fix", "BITBUCKET_COMMIT": "abc",
             "BITBUCKET_PR_ID": "3", "BITBUCKET_PR_DESTINATION_BRANCH": "main", "BITBUCKET_PARALLEL_STEP": "0"},
            CiJob("bitbucket-p-s", "bitbucket-p", "fix", "abc", "https://bitbucket.org/o/r/pipelines/results/8",
                  "main", "3", "1"),
        ),
        ({"HOME": "/root"}, CiJob()),
    ],
)  # fmt: skip
def test_ci_job_is_read_from_environment_variables(variables: dict[str, str], job: CiJob) -> None:
    assert current_job(variables) == job


@pytest.mark.parametrize("index", ["", "x", "-1", "0", "1.5", "²"])
def test_job_with_an_invalid_index_has_no_shard(index: str) -> None:
    assert current_job({"GITLAB_CI": "true", "CI_PIPELINE_ID": "7", "CI_NODE_INDEX": index}).shard is None


@pytest.mark.parametrize("attempt", ["", "x", "-1", "0", "1.5", "²", "1" * 20])
def test_job_with_an_invalid_attempt_has_none(attempt: str) -> None:
    assert current_job(GITHUB | {"GITHUB_RUN_ATTEMPT": attempt}).attempt is None


def test_long_names_of_jobs_stay_different() -> None:
    first, second = (current_job(GITHUB | {"GITHUB_JOB": "x" * 250 + end}).part for end in "ab")
    assert first is not None
    assert len(first) == 200
    assert first != second


def pull_request(event: Path) -> dict[str, str]:
    return GITHUB | {
        "GITHUB_REF": "refs/pull/12/merge", "GITHUB_REF_NAME": "12/merge", "GITHUB_HEAD_REF": "fix",
        "GITHUB_BASE_REF": "main", "GITHUB_SHA": "merge", "GITHUB_EVENT_PATH": str(event),
    }  # fmt: skip


def test_pull_request_on_github_has_its_head_commit_and_target_branch(tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text('{"pull_request": {"head": {"sha": "head"}}}')
    job = current_job(pull_request(event))
    assert (job.branch, job.commit_sha, job.base_branch, job.pull_request) == ("fix", "head", "main", "12")


@pytest.mark.parametrize("event", ["{}", "[]", "{", '{"pull_request": null}'], ids=range(4))
def test_commit_of_a_pull_request_without_its_event_is_unknown(
    event: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "event.json"
    path.write_text(event)
    assert current_job(pull_request(path)).commit_sha is None
    assert capsys.readouterr().err.startswith("warning: the commit is unknown, because the file GITHUB_EVENT_PATH")


def test_job_without_the_variable_of_the_event_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    variables = {name: value for name, value in pull_request(Path()).items() if name != "GITHUB_EVENT_PATH"}
    assert current_job(variables).commit_sha is None
    assert "GITHUB_EVENT_PATH isn't set" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("needs", "skipped"),
    [
        ('{"unit": {"result": "success", "outputs": {}}, "ui": {"result": "skipped"}}', ["ui"]),
        ('{"build": {"result": "failure"}, "ui": {"result": "skipped"}}', []),
        ('{"build": {"result": "cancelled"}, "ui": {"result": "skipped"}}', []),
        ("{}", []),
    ],
)
def test_skipped_jobs_of_github_are_read_from_needs(needs: str, skipped: list[str]) -> None:
    assert skipped_jobs(needs) == skipped


@pytest.mark.parametrize("needs", ["", "skipped", "[]", '{"unit": "skipped"}', '{"unit": {}}', "null"])
def test_needs_that_github_does_not_write_are_an_error(needs: str) -> None:
    with pytest.raises(ValueError, match="toJSON"):
        skipped_jobs(needs)
