"""The comment on a pull request is created once, and later runs update it."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from service.client import comment as comments
from service.client.changes import RunChanges
from service.client.ci import CiJob
from service.client.comment import CODE_HOSTS, publish
from service.client.http import ClientError
from service.client.links import ConsoleLinks
from service.client.runs import INCOMPLETE
from tests.api.served import serve
from tests.client.changed_runs import changed, run_changes
from tests.client.code_hosts import BOT, CodeHostServer, serving_code_host
from tests.run_events import result, run_event

LINKS = ConsoleLinks("https://r.example")
TIMEOUT_S = 100
JOB = CiJob(pull_request="12")
FAILING = run_changes(changed())
PASSING = run_changes()
MARKER = "<!-- zof-results -->"


@pytest.fixture
async def host(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CodeHostServer]:
    async with serving_code_host() as served:
        variables = {
            "GITHUB_API_URL": served.url, "GITHUB_GRAPHQL_URL": f"{served.url}/graphql", "GITHUB_REPOSITORY": "o/r",
            "GITHUB_TOKEN": "t", "CI_API_V4_URL": served.url, "CI_PROJECT_ID": "3", "GITLAB_TOKEN": "t",
        }  # fmt: skip
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield served


async def write(name: str, changes: RunChanges = FAILING, text: str = f"{MARKER}\n1", job: CiJob = JOB) -> str:
    deadline = time.monotonic() + TIMEOUT_S
    return await asyncio.to_thread(publish, CODE_HOSTS[name], job, changes, text, deadline)


@pytest.mark.parametrize("name", CODE_HOSTS)
async def test_second_comment_replaces_the_first_one(host: CodeHostServer, name: str) -> None:
    for number in range(150):
        host.add(f"comment {number}", "octocat")
    assert await write(name) == ""
    assert await write(name, text=f"{MARKER}\n2") == ""
    assert host.texts[150:] == [f"{MARKER}\n2"]


@pytest.mark.parametrize("name", CODE_HOSTS)
async def test_comment_of_another_author_is_never_changed(host: CodeHostServer, name: str) -> None:
    host.add(f"{MARKER} from another person", "octocat")
    await write(name)
    assert host.texts == [f"{MARKER} from another person", f"{MARKER}\n1"]


async def test_comment_without_an_author_or_text_is_ignored(host: CodeHostServer) -> None:
    host.comments += [{"id": 1, "body": MARKER, "user": None}, {"id": 2, "body": None, "user": {"login": BOT}}]
    await write("github")
    assert host.texts == [MARKER, None, f"{MARKER}\n1"]


@pytest.mark.parametrize("name", CODE_HOSTS)
async def test_run_without_failures_only_updates_an_existing_comment(host: CodeHostServer, name: str) -> None:
    await write(name, PASSING)
    assert host.texts == []
    await write(name, FAILING)
    await write(name, PASSING, f"{MARKER}\nNo failures")
    assert host.texts == [f"{MARKER}\nNo failures"]


@pytest.mark.parametrize("name", CODE_HOSTS)
@pytest.mark.parametrize("status", [403, 404])
async def test_token_that_cannot_write_is_a_problem_without_an_error(
    host: CodeHostServer, name: str, status: int
) -> None:
    host.denied = status
    assert (await write(name)).startswith("the token can't write comments: POST http://")


@pytest.mark.parametrize("status", [401, 500, 422])
async def test_other_rejections_are_errors(host: CodeHostServer, status: int) -> None:
    host.denied = status
    with pytest.raises(ClientError, match=f"responds with {status}"):
        await write("github")


@pytest.mark.parametrize("name", CODE_HOSTS)
@pytest.mark.parametrize(
    ("status", "headers", "wait_s"),
    [
        (429, {"Retry-After": "30"}, 30),
        (503, {"Retry-After": "30"}, 30),
        (403, {"Retry-After": "30", "x-ratelimit-remaining": "4999"}, 30),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1010"}, 10),
        (429, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "soon"}, 60),
        (429, {}, 60),
        (403, {}, 60),
    ],
)
async def test_request_is_repeated_when_the_code_host_permits_it(
    host: CodeHostServer, name: str, status: int, headers: dict[str, str], wait_s: int,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    monkeypatch.setattr("time.time", lambda: 1000.0)
    host.limited = [rate_limited(status, headers)]
    assert await write(name) == ""
    assert host.texts == [f"{MARKER}\n1"]
    assert waits == [wait_s]
    assert capsys.readouterr().err.endswith(
        f"responds with {status}: the request can be repeated after {wait_s} s; retrying after {wait_s} s, as the"
        " server requests\nthe comment is created\n"
    )


async def test_wait_that_is_longer_than_the_timeout_is_an_error(host: CodeHostServer) -> None:
    host.limited = [rate_limited(403, {"Retry-After": f"{TIMEOUT_S + 1}"})]
    with pytest.raises(ClientError, match=f"responds with 403: the request can be repeated after {TIMEOUT_S + 1} s"):
        await write("github")
    assert host.texts == []


def rate_limited(status: int, headers: dict[str, str]) -> web.Response:
    text = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
    return web.json_response({"message": text}, status=status, headers=headers)


async def test_job_without_a_pull_request_or_a_token_writes_nothing(
    host: CodeHostServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await write("github", job=CiJob()) == "this job doesn't run for a pull request"
    monkeypatch.delenv("GITLAB_TOKEN")
    assert await write("gitlab") == "GITLAB_TOKEN isn't set"
    assert host.texts == []


async def test_unreachable_code_host_is_an_error(monkeypatch: pytest.MonkeyPatch, host: CodeHostServer) -> None:
    monkeypatch.setenv("GITHUB_API_URL", "http://127.0.0.1:9")
    with pytest.raises(ClientError, match="/repos/o/r/issues/12/comments doesn't respond"):
        await write("github")


def test_comment_is_shorter_than_the_limit_of_github() -> None:
    changes = run_changes(*(changed(f"{number}" + "ü" * 300, suite="x" * 300) for number in range(500)))
    text = comments.render_comment(changes, LINKS)
    assert 60_000 < len(text) <= 65_000
    assert text.startswith(f"{MARKER}\n### 500 new failures\n")


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        (run_changes(changed()), "1 new failure"),
        (run_changes(changed(change="known_failure")), "No new failures"),
        (run_changes(), "No failures"),
    ],
)
def test_title_states_the_number_of_new_failures(changes: RunChanges, title: str) -> None:
    assert comments.render_comment(changes, LINKS).splitlines()[1] == f"### {title}"


async def test_command_comments_the_failures_of_a_run(
    database_url: str, host: CodeHostServer, capsys: pytest.CaptureFixture[str]
) -> None:
    known = result("refunds", "failed", failure={"message": "timeout"})
    async with serve(database_url) as api:
        await api.store.ingest(run_event("main_1", [known], completed_at="2026-05-19T12:00:00Z", branch="main"))
        await api.store.ingest(run_event("pr_1", [known, result("pays", "error")], branch="fix", base_branch="main"))
        url = str(api.http.make_url("/"))
        for code_host in (CODE_HOSTS["github"], None):
            code = await asyncio.to_thread(comments.comment, url, api.key, "pr_1", JOB, code_host, 5)
            assert code == comments.DONE
        assert await asyncio.to_thread(comments.comment, url, api.key, "pr_2", JOB, None, 0) == INCOMPLETE
        listed = (await api.get("/v1/results", {"run_id": "pr_1", "sort": "suite"}))["data"]
    pays, refunds = [f"{url}console/results/{item['id']}" for item in listed]
    (text,) = host.texts
    assert text == (
        f"{MARKER}\n### 1 new failure\n\nRun [`pr_1`]({url}console/runs/pr_1): 1 failed, 1 error\n\n"
        "`compared with run main_1 on main`\n\n"
        f"**New failures: 1**\n\n- [`auth.login > pays`]({pays})\n  <br>`not executed in the compared runs on main`\n\n"
        f"**Known failures: 1**\n\n- [`auth.login > refunds`]({refunds})\n"
        "  <br>`timeout`\n  <br>`also failed in its last run on main, since run main_1`\n"
    )
    captured = capsys.readouterr()
    assert captured.out.endswith(f"\n{text}")
    assert captured.err == "the comment is created\nrun pr_2 doesn't exist after 0 s\n"
