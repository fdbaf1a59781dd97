"""A comment on a pull request is created once, and later runs update it. The comment of one project needs --project."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from service.client import code_hosts
from service.client import comment as comments
from service.client.checkout import RepositoryPaths
from service.client.ci import CiJob, pipeline_run_id
from service.client.comment import CODE_HOSTS, CommentRequest, publish
from service.client.comment_texts import ProjectComment
from service.client.http import ClientError
from service.client.runs import INCOMPLETE, Deadline
from service.client.selections import AbsentJobs, Selection
from tests.client.code_hosts import BOT, CodeHostServer, serving_code_host
from tests.client.gates import decide, url
from tests.run_events import result, run_event
from tests.served import Api, serve

TIMEOUT_S = 100
JOB = CiJob(pull_request="12")
EARLIER_MARKER = "<!-- zof-results -->"
MARKER = "<!-- zof-results: shop -->"
SHARED_MARKER = "<!-- zof-results-projects -->"


@pytest.fixture
async def host(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CodeHostServer]:
    async with serving_code_host() as served:
        set_variables(monkeypatch, served)
        monkeypatch.setattr(comments, "_PAUSE_S", 0.02)
        yield served


def set_variables(monkeypatch: pytest.MonkeyPatch, served: CodeHostServer) -> None:
    variables = {
        "GITHUB_API_URL": served.url, "GITHUB_GRAPHQL_URL": f"{served.url}/graphql", "GITHUB_REPOSITORY": "o/r",
        "GITHUB_TOKEN": "t", "CI_API_V4_URL": served.url, "CI_PROJECT_ID": "3", "GITLAB_TOKEN": "t",
    }  # fmt: skip
    monkeypatch.delenv("CI_MERGE_REQUEST_PROJECT_ID", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


_numbers = itertools.count()


def comment(number: int | str, project: str = "shop", *, is_needed: bool = True) -> ProjectComment:
    return ProjectComment(project, str(number), lacking=is_needed, version=("", 0, next(_numbers)))


async def write(name: str, *written: ProjectComment, job: CiJob = JOB) -> str:
    """Write a comment for each project. Return the last problem."""
    problem = ""
    for each in written or (comment(1),):
        deadline = Deadline.after(TIMEOUT_S)
        problem = await asyncio.to_thread(publish, CODE_HOSTS[name], job, [each], each.marker, deadline)
    return problem


@pytest.mark.parametrize("name", CODE_HOSTS)
async def test_second_comment_replaces_the_first_one(host: CodeHostServer, name: str) -> None:
    await write(name)
    for number in range(250):
        host.add(f"comment {number}", "octocat")
    assert await write(name, comment(2)) == ""
    assert host.bodies == [f"{MARKER}\n2", *(f"comment {number}" for number in range(250))]


async def test_comments_that_are_not_read_completely_are_an_error(
    host: CodeHostServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_hosts, "_MAX_PAGES", 1)
    for number in range(100):
        host.add(f"comment {number}", "octocat")
    with pytest.raises(ClientError, match="has more than 100 items"):
        await write("github")


async def test_comment_of_a_pipeline_of_a_fork_is_that_of_the_target_project(
    monkeypatch: pytest.MonkeyPatch, host: CodeHostServer
) -> None:
    monkeypatch.setenv("CI_MERGE_REQUEST_PROJECT_ID", "3")
    monkeypatch.setenv("CI_PROJECT_ID", "4")
    assert await write("gitlab") == ""
    assert host.bodies == [f"{MARKER}\n1"]


@pytest.mark.parametrize("name", CODE_HOSTS)
async def test_each_project_has_its_own_comment(host: CodeHostServer, name: str) -> None:
    for number in (1, 2):
        await write(name, comment(number, "web"), comment(number), comment(number, "shop2"))
    assert host.bodies == [f"<!-- zof-results: {project} -->\n2" for project in ("web", "shop", "shop2")]


@pytest.mark.parametrize("project", ["--> <b>x</b>", "a--b---", "-", ">", "->", "a b", "支払い", "%2D%2D"])
async def test_marker_of_any_project_is_one_comment_of_html(host: CodeHostServer, project: str) -> None:
    for number in (1, 2):
        await write("github", comment(number, project), comment(number, "other"))
    first, second = host.bodies
    assert (first.splitlines()[1], second) == ("2", "<!-- zof-results: other -->\n2")
    marker = first.splitlines()[0].removeprefix("<!--").removesuffix("-->")
    assert marker.isascii() and marker.isprintable()  # noqa: PT018
    assert not {"--", ">"} & {marker[start : start + size] for start in range(len(marker)) for size in (1, 2)}


async def test_text_of_a_producer_does_not_find_the_comment_of_another_project(host: CodeHostServer) -> None:
    await write("github", comment(f"`{MARKER}`", "web"))
    await write("github", comment(2))
    assert host.bodies == ["<!-- zof-results: web -->\n`<! -- zof-results: shop -->`", f"{MARKER}\n2"]


@pytest.mark.parametrize("name", CODE_HOSTS)
async def test_first_project_adopts_the_comment_of_an_earlier_client(host: CodeHostServer, name: str) -> None:
    host.add(f"{EARLIER_MARKER}\n### 1 new failure")
    await write(name, comment(1), comment(1, "web"))
    assert host.bodies == [f"{MARKER}\n1", "<!-- zof-results: web -->\n1"]


@pytest.mark.parametrize("name", CODE_HOSTS)
async def test_comments_that_jobs_create_at_the_same_time_become_one(host: CodeHostServer, name: str) -> None:
    host.creations = asyncio.Barrier(2)
    await asyncio.gather(write(name), write(name))
    assert [text.rstrip() for text in host.bodies] == [f"{MARKER}\n1"]


@pytest.mark.parametrize("name", CODE_HOSTS)
async def test_duplicates_of_an_aborted_job_are_deleted(host: CodeHostServer, name: str) -> None:
    for _ in range(3):
        host.add(f"{MARKER}\n1")
    await write(name, comment(2))
    assert host.bodies == [f"{MARKER}\n2"]


@pytest.mark.parametrize("name", CODE_HOSTS)
async def test_comment_that_another_job_has_deleted_is_no_error(host: CodeHostServer, name: str) -> None:
    for _ in range(2):
        host.add(f"{MARKER}\n1")
    host.deletes_first = True
    assert await write(name, comment(2)) == ""
    assert host.bodies == [f"{MARKER}\n2"]


@pytest.mark.parametrize("name", CODE_HOSTS)
async def test_comment_of_another_author_is_never_changed(host: CodeHostServer, name: str) -> None:
    host.add(f"{MARKER} from another person", "octocat")
    host.add(f"{EARLIER_MARKER} from another person", "octocat")
    await write(name)
    assert host.bodies[2:] == [f"{MARKER}\n1"]
    assert all(text.endswith("from another person") for text in host.texts[:2])


async def test_comment_without_an_author_or_text_is_ignored(host: CodeHostServer) -> None:
    host.comments += [{"id": 1, "body": MARKER, "user": None}, {"id": 2, "body": None, "user": {"login": BOT}}]
    await write("github")
    assert [text and text.splitlines()[0] for text in host.texts] == [MARKER, None, MARKER]


@pytest.mark.parametrize("name", CODE_HOSTS)
async def test_comment_that_is_not_needed_is_only_updated(host: CodeHostServer, name: str) -> None:
    await write(name, comment(1, is_needed=False))
    assert host.bodies == []
    await write(name, comment(2))
    await write(name, comment(3, is_needed=False))
    assert host.bodies == [f"{MARKER}\n3"]


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
    assert host.bodies == [f"{MARKER}\n1"]
    assert [wait for wait in waits if wait > 1] == [wait_s]
    assert capsys.readouterr().err.endswith(
        f"responds with {status}: the request can be repeated after {wait_s} s; retrying after {wait_s} s, as the"
        " server requests\nthe comment is created\n"
    )


async def test_wait_that_is_longer_than_the_timeout_is_an_error(host: CodeHostServer) -> None:
    host.limited = [rate_limited(403, {"Retry-After": f"{TIMEOUT_S + 1}"})]
    with pytest.raises(ClientError, match=f"responds with 403: the request can be repeated after {TIMEOUT_S + 1} s"):
        await write("github")
    assert host.bodies == []


def rate_limited(status: int, headers: dict[str, str]) -> web.Response:
    text = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
    return web.json_response({"message": text}, status=status, headers=headers)


async def test_job_without_a_pull_request_or_a_token_writes_nothing(
    host: CodeHostServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await write("github", job=CiJob()) == "this job doesn't run for a pull request"
    monkeypatch.delenv("GITLAB_TOKEN")
    assert await write("gitlab") == "GITLAB_TOKEN isn't set"
    assert host.bodies == []


async def test_unreachable_code_host_is_an_error(monkeypatch: pytest.MonkeyPatch, host: CodeHostServer) -> None:
    monkeypatch.setenv("GITHUB_API_URL", "http://127.0.0.1:9")
    with pytest.raises(ClientError, match="/repos/o/r/issues/12/comments doesn't respond"):
        await write("github")


async def run_comment(
    api: Api, selection: Selection, name: str | None = "github", key: str = "", timeout_s: float = 5, **options: Any
) -> int:
    host = CODE_HOSTS[name] if name else None
    request = CommentRequest(selection, RepositoryPaths(), **options)
    return await asyncio.to_thread(comments.comment, url(api), key or api.key, request, JOB, host, timeout_s)


async def test_command_comments_the_failures_of_a_run(
    database_url: str, host: CodeHostServer, capsys: pytest.CaptureFixture[str]
) -> None:
    known = result("refunds", "failed", failure={"message": "timeout"})
    async with serve(database_url) as api:
        await api.store.ingest(run_event("main_1", [known], completed_at="2026-05-19T12:00:00Z", branch="main"))
        await api.store.ingest(run_event("pr_1", [known, result("pays", "error")], branch="fix", base_branch="main"))
        for name in ("github", None):
            assert await run_comment(api, Selection("pr_1", project="shop"), name) == comments.DONE
        assert await run_comment(api, Selection("pr_2"), None, timeout_s=0) == INCOMPLETE
        listed = (await api.get("/v1/results", {"run_id": "pr_1", "sort": "suite"}))["data"]
        server = url(api)
    pays, refunds = [f"{server}console/results/{item['id']}" for item in listed]
    (text,) = host.bodies
    assert text == (
        f"{MARKER}\n### `shop`: 1 new failure\n\nRun [`pr_1`]({server}console/runs/pr_1): 1 failed, 1 error\n\n"
        "Compared with run `main_1` on `main`\n\n"
        f"**New failures: 1**\n\n- [`auth.login > pays`]({pays})\n  <br>Not executed in the compared runs on `main`\n\n"
        f"**Known failures: 1**\n\n- [`auth.login > refunds`]({refunds})\n"
        "  <br>`timeout`\n  <br>Failed in its only run on `main`; known from one result only, in run `main_1`\n"
    )
    captured = capsys.readouterr()
    assert captured.out.endswith(text.removeprefix(MARKER))
    assert captured.err == "the comment is created\nrun pr_2 doesn't exist after 0 s\n"


async def send_job(api: Api, pipeline: str, project: str, results: list[Any], **run: Any) -> None:
    """Store the results of a job of a pipeline."""
    branch = {"branch": "main", "completed_at": "2026-05-19T12:00:00Z"} if pipeline == "github-811" else {}
    await api.store.ingest(
        run_event(
            pipeline_run_id(pipeline, project), results, project_id=project, pipeline=pipeline, base_branch="main",
            final=False, **{"part": "unit", "attempt": 1, **branch, **run},
        )
    )  # fmt: skip


async def test_pull_request_of_a_monorepo(database_url: str, host: CodeHostServer) -> None:
    """Three projects: a rerun that passes, a job that was canceled, and a project without results."""
    host.add(f"{EARLIER_MARKER}\n### 1 new failure")
    host.add("<!-- zof-results: web -->\n### `web`: 1 new failure")
    pays = result("pays", file="tests/pay.py", line=3)
    async with serve(database_url) as api:
        for project in ("api", "shop", "web"):
            await send_job(api, "github-811", project, [pays])
        await send_job(api, "github-811", "shop", [result("refunds")], part="e2e")
        await decide(api, pipeline="github-811")
        await send_job(api, "github-812", "web", [pays | {"status": "failed", "failure": {"message": "no"}}])
        await send_job(api, "github-812", "web", [pays], attempt=2)
        await send_job(api, "github-812", "shop", [pays | {"status": "failed", "failure": {"message": "no"}}])
        await decide(api, pipeline="github-812")
        assert await run_comment(api, Selection(pipeline="github-812")) == comments.DONE
        shared, of_web = host.bodies

        key = (await api.make_key("viewer", project_id="web")).key
        assert await run_comment(api, Selection(pipeline="github-812"), key=key) == comments.DONE
        assert host.bodies == [shared, of_web]  # the key can read only one of the projects
        host.comments.clear()
        assert await run_comment(api, Selection(pipeline="github-812"), key=key) == comments.DONE
        assert host.texts == []  # a flaky result isn't new
        await run_comment(api, Selection(pipeline="github-812", project="shop"), absent=AbsentJobs(["e2e"]))
    head, shop, missing, web = shared.split("### ")
    assert head == (
        f"{SHARED_MARKER}\n**1 new failure in 1 of 3 projects; 2 of 3 projects without complete results**\n\n"
    )
    assert shop.startswith(
        "`shop`: 1 job sent no results, 1 new failure\n\n**1 of 2 jobs sent no results: `e2e`**\n\nRun "
    )
    assert "\n| File | Failing | Change |\n|---|---:|---:|\n| `tests/pay.py` | 1 | +1 |\n" in shop
    assert "\n  <br>`no`\n  <br>Passed in its only run on `main`\n  <br>`tests/pay.py:3`\n" in shop
    assert web.startswith("`web`: no new failures\n\nRun [`github-812:web`](")
    assert "**Flaky results, passed after a failed attempt: 1**" in web
    assert "Failed in attempt 1 of job `unit`, passed in attempt 2" in web
    assert missing == (
        "`api`: no results\n\n"
        "The project sent no results to this pipeline. It sent results to the pipeline of the base branch.\n\n"
    )
    assert of_web == "<!-- zof-results: web -->\n### `web`: 1 new failure"  # a job can use --project
    [allowed] = host.bodies
    assert allowed.startswith(
        f"{MARKER}\n### `shop`: 1 new failure\n\n**1 of 2 jobs sent no results: `e2e` (allowed)**\n\nRun "
    )


async def test_first_run_of_a_project_claims_no_new_failures(database_url: str, host: CodeHostServer) -> None:
    async with serve(database_url) as api:
        await api.store.ingest(run_event("pr_1", [result("pays", "failed"), result("ships", "failed")]))
        await run_comment(api, Selection("pr_1"))
    (text,) = host.bodies
    head = "**2 uncompared failures in 1 of 1 project**\n\n"
    assert text.startswith(f"{SHARED_MARKER}\n{head}### `shop`: 2 failures, not compared\n")
    assert "\n**Failures: 2**\n" in text
    assert (
        "\nNot compared: there is no earlier complete run on the base branch, so gates count all failures as new\n"
        in text
    )
    assert "ew failure" not in text


async def test_runs_of_an_earlier_and_a_new_client_share_the_comment_of_their_project(
    database_url: str, host: CodeHostServer
) -> None:
    async with serve(database_url) as api:
        await api.store.ingest(run_event("github-812", [result("pays", "failed")], final=False))
        await send_job(api, "github-812", "shop", [result("ships", "failed")])
        await decide(api, pipeline="github-812")
        assert await run_comment(api, Selection(pipeline="github-812")) == comments.DONE
    (text,) = host.texts
    assert "Run [`github-812`](" in text
    assert "Run [`github-812:shop`](" in text


async def test_comment_on_an_earlier_run_does_not_stay_when_the_next_one_is_incomplete(
    database_url: str, host: CodeHostServer
) -> None:
    async with serve(database_url) as api:
        await send_job(api, "github-812", "shop", [result("pays", "failed")])
        await decide(api, pipeline="github-812")
        await run_comment(api, Selection(pipeline="github-812"))
        assert "### `shop`: 1 failure, not compared\n" in host.bodies[0]
        await send_job(api, "github-813", "shop", [result("pays")], completed_at="2026-05-20T12:01:00Z")
        assert await run_comment(api, Selection(pipeline="github-813"), timeout_s=0) == INCOMPLETE
        head = f"{SHARED_MARKER}\n**1 of 1 project without complete results**\n\n"
        incomplete = f"{head}### `shop`: incomplete\n\nRun `github-813:shop` isn't complete after 0 s\n"
        assert host.bodies == [incomplete]
        await api.store.ingest(run_event("github-813", [result("ships", "failed")]))
        assert await run_comment(api, Selection(pipeline="github-813"), timeout_s=0) == INCOMPLETE
        (text,) = host.bodies
        assert text.endswith(")\n")
        assert "\n### `shop`: incomplete\n\nRun `github-813:shop` isn't complete after 0 s\n\n###" in text
        assert "ships" in text


async def test_pipeline_without_runs_has_no_comment(
    database_url: str, host: CodeHostServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serve(database_url) as api:
        selection = Selection(pipeline="github-812", project="shop")
        assert await run_comment(api, selection, timeout_s=0) == INCOMPLETE
    assert host.texts == []
    assert capsys.readouterr().err == "pipeline github-812 has no run of project shop after 0 s\n"
