"""The metadata of a CI job is read from the variables that each CI system sets."""

from pathlib import Path

import pytest

from service.client.arguments import read_needs
from service.client.ci import CiJob, current_job, earlier_run_id, pipeline_run_id
from tests.client.recorded_jobs import recorded_jobs

GITHUB = {
    "GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "12", "GITHUB_RUN_ATTEMPT": "2", "GITHUB_JOB": "test",
    "GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "o/r", "GITHUB_REF": "refs/heads/main",
    "GITHUB_REF_NAME": "main", "GITHUB_SHA": "abc",
}  # fmt: skip


def test_job_outside_of_the_known_systems_has_no_fields() -> None:
    assert current_job({"HOME": "/root"}) == CiJob()


@pytest.mark.parametrize(
    ("pipeline", "project", "run_id"),
    [
        ("github-812", "shop", "github-812:shop"),
        ("github-812", "a" * 189, "github-812:" + "a" * 189),
        ("github-812", "a" * 190, "github-812:" + "a" * 169 + "-8aa7bc24425c"),
        ("github-812", "my shop", "github-812:my-shop-9f1ab32ddf05"),
        ("github-812", "bücher", "github-812:b-cher-1c92c5ad3eb6"),
    ],
)
def test_run_of_a_pipeline_contains_the_project(pipeline: str, project: str, run_id: str) -> None:
    assert pipeline_run_id(pipeline, project) == run_id
    assert len(run_id) <= 200


def test_run_ids_that_were_changed_stay_different() -> None:
    projects = ["my shop", "my-shop", "my  shop", "a" * 250, "a" * 251]
    assert len({pipeline_run_id("github-812", project) for project in projects}) == len(projects)


def test_earlier_run_of_a_pipeline_has_the_id_of_earlier_clients() -> None:
    assert earlier_run_id("github-812") == "github-812"
    assert earlier_run_id("jenkins-my shop-7") == "jenkins-my-shop-7"


def test_pipelines_with_long_names_stay_different() -> None:
    first, second = (
        current_job({"JENKINS_URL": "https://j", "BUILD_TAG": f"jenkins-{'x' * 200}-{number}"}).pipeline
        for number in (1, 2)
    )
    assert first is not None
    assert len(first) == 200
    assert first != second


QUEUE = "gh-readonly-queue/release/1.x/pr-12-c0ffee"


@pytest.mark.parametrize(
    "variables",
    [
        {"BUILDKITE": "true", "BUILDKITE_PULL_REQUEST": "false", "BUILDKITE_BRANCH": QUEUE},
        {"CIRCLECI": "true", "CIRCLE_BRANCH": QUEUE},
    ],
)
def test_branch_of_a_merge_queue_states_the_pull_request_and_its_target(variables: dict[str, str]) -> None:
    job = current_job(variables)
    assert (job.branch, job.base_branch, job.pull_request) == (QUEUE, "release/1.x", "12")


@pytest.mark.parametrize(("event", "pull_request"), [("merge_group", "12"), ("push", None), ("", None)])
def test_only_the_event_of_a_merge_queue_of_github_states_its_pull_request(
    event: str, pull_request: str | None
) -> None:
    queue = {"GITHUB_REF": f"refs/heads/{QUEUE}", "GITHUB_REF_NAME": QUEUE, "GITHUB_EVENT_NAME": event}
    assert current_job(GITHUB | queue).pull_request == pull_request


@pytest.mark.parametrize(
    ("variables", "pull_request"),
    [
        (GITHUB | {"GITHUB_HEAD_REF": QUEUE}, None),  # pull_request_target
        (GITHUB | {"GITHUB_HEAD_REF": QUEUE, "GITHUB_REF": "refs/pull/7/merge"}, "7"),
        ({"BUILDKITE": "true", "BUILDKITE_PULL_REQUEST": "7", "BUILDKITE_BRANCH": QUEUE}, "7"),
        ({"CIRCLECI": "true", "CIRCLE_PULL_REQUEST": "https://github.com/o/r/pull/7", "CIRCLE_BRANCH": QUEUE}, "7"),
    ],
)
def test_branch_of_a_fork_that_is_named_like_a_merge_queue_states_no_pull_request(
    variables: dict[str, str], pull_request: str | None
) -> None:
    assert current_job(variables).pull_request == pull_request


def test_merge_train_of_gitlab_belongs_to_its_merge_request(tmp_path: Path) -> None:
    [recorded] = [job for job in recorded_jobs() if job.name == "gitlab-merged-results"]
    train = {"CI_MERGE_REQUEST_EVENT_TYPE": "merge_train", "CI_MERGE_REQUEST_REF_PATH": "refs/merge-requests/7/train"}
    job = recorded._replace(variables={**recorded.variables, **train}).read(tmp_path)
    assert (job.pull_request, job.base_branch, job.is_fork) == ("7", "main", False)


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


@pytest.mark.parametrize(
    ("message", "title"),
    [
        ("Round totals\r\n\nOnce.", "Round totals"),
        ("\n  Round\ttotals  \n", "Round totals"),
        ("\udcff", None),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 199 + "…"),
    ],
)
def test_title_is_the_first_line_of_a_message(message: str, title: str | None) -> None:
    assert current_job({"BUILDKITE": "true", "BUILDKITE_MESSAGE": message}).title == title


@pytest.mark.parametrize(
    ("remote", "page"),
    [
        ("git@github.com:acme/shop.git", "https://github.com/acme/shop"),
        ("ssh://git@gitlab.example.org:2222/acme/web/shop.git", "https://gitlab.example.org/acme/web/shop"),
        ("git://github.com/acme/shop.git", "https://github.com/acme/shop"),
        ("https://user:secret@github.com/acme/shop.git", "https://github.com/acme/shop"),
        ("https://acme@dev.azure.com/acme/shop/_git/shop", "https://dev.azure.com/acme/shop/_git/shop"),
        ("https://github.example.org:8443/acme/shop/", "https://github.example.org:8443/acme/shop"),
        ("http://github.example.org/acme/shop", None),
        ("/srv/git/shop.git", None),
        ("https://[/acme", None),
        ("", None),
    ],
)
def test_page_of_a_repository_is_https_without_credentials(remote: str, page: str | None) -> None:
    assert current_job({"BUILDKITE": "true", "BUILDKITE_REPO": remote}).repository_url == page


@pytest.mark.parametrize(
    ("repository", "source", "is_fork"),
    [
        ("git@github.com:acme/shop.git", "https://github.com/jane/shop.git", True),
        ("git@github.com:acme/shop.git", "git://github.com/Acme/Shop.git", False),
        ("git@github-acme:acme/shop.git", "git://github.com/acme/shop.git", False),
        ("ssh://git@ssh.github.com:443/acme/shop.git", "git://github.com/acme/shop.git", False),
        ("/srv/git/shop.git", "git://github.com/acme/shop.git", False),
    ],
)
def test_aliases_of_a_repository_in_buildkite_are_no_fork(repository: str, source: str, *, is_fork: bool) -> None:
    remotes = {"BUILDKITE_REPO": repository, "BUILDKITE_PULL_REQUEST_REPO": source}
    assert current_job({"BUILDKITE": "true", **remotes}).is_fork is is_fork


def test_pages_that_are_not_https_are_left_out() -> None:
    server = {"GITHUB_SERVER_URL": "http://github.example.org"}
    job = current_job(GITHUB | server)
    assert (job.job_url, job.repository_url) == (None, None)


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
    ("pipeline", "other"),
    [("github-81", "github-812"), ("jenkins-My Shop-12", "jenkins-My-Shop-12"), ("jenkins-a-1", "jenkins-a-12")],
)
def test_run_ids_of_a_pipeline_are_not_those_of_another_one(pipeline: str, other: str) -> None:
    for project in ("shop", "a b", "支払い"):
        assert pipeline_run_id(pipeline, project) != pipeline_run_id(other, project)


@pytest.mark.parametrize(
    ("needs", "skipped", "canceled"),
    [
        ('{"unit": {"result": "success", "outputs": {}}, "ui": {"result": "skipped"}}', ["ui"], []),
        ('{"build": {"result": "failure"}, "ui": {"result": "skipped"}}', [], []),
        ('{"build": {"result": "cancelled"}, "ui": {"result": "skipped"}}', [], ["build"]),
        ("{}", [], []),
    ],
)
def test_skipped_and_canceled_jobs_of_github_are_read_from_needs(
    needs: str, skipped: list[str], canceled: list[str]
) -> None:
    assert read_needs(needs) == (skipped, canceled)


@pytest.mark.parametrize("needs", ["", "skipped", "[]", '{"unit": "skipped"}', '{"unit": {}}', "null"])
def test_needs_that_github_does_not_write_are_an_error(needs: str) -> None:
    with pytest.raises(ValueError, match="toJSON"):
        read_needs(needs)
