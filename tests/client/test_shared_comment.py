"""All projects share one comment, to which parallel jobs write their sections without losing those of other jobs."""

import asyncio
import itertools
import os
import re
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.client import comment as comments
from service.client.code_hosts import GitHubPullRequest, GitLabMergeRequest
from service.client.comment import CODE_HOSTS, publish
from service.client.comment_texts import (
    SHARED_MARKER,
    ProjectComment,
    add_versions,
    join_sections,
    read_sections,
    write_comments,
)
from service.client.http import ClientError
from service.client.runs import AwaitedRun, Deadline
from service.client.selections import AbsentJobs
from tests.client.changed_runs import changed, run_changes
from tests.client.code_hosts import CodeHostServer, serving_code_host
from tests.client.gates import decide, url
from tests.client.test_comment import JOB, send_job, set_variables
from tests.client.test_comment_texts import LINKS
from tests.run_events import result
from tests.served import Api, serve

TIMEOUT_S = 100
JOBS = 12  # at the same time
LATER = "2026-05-20T12:00:00.000Z"
EARLIER = "2026-05-19T12:00:00.000Z"
_written_ms = itertools.count(1)


@pytest.fixture
async def host(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CodeHostServer]:
    async with serving_code_host() as served:
        set_variables(monkeypatch, served)
        monkeypatch.setattr(comments, "_PAUSE_S", 0.05)
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(JOBS))
        yield served


def section(
    project: str, body: str = "", new: int = 1, *, completed_at: str = LATER, revision: int = 1, **fields: bool
) -> ProjectComment:
    text = f"### `{project}`: {body or new}\n"
    return ProjectComment(project, text, new, version=(completed_at, revision, next(_written_ms)), **fields)


async def write(*sections: ProjectComment, name: str = "github", timeout_s: float = TIMEOUT_S) -> str:
    deadline = Deadline.after(timeout_s)
    return await asyncio.to_thread(publish, CODE_HOSTS[name], JOB, sections, SHARED_MARKER, deadline)


def shown(host: CodeHostServer) -> dict[str, str]:
    """Return the titles of the only comment by project."""
    (text,) = host.bodies
    return dict(re.findall(r"^### `(.+)`: (.*)$", text, re.MULTILINE))


@pytest.mark.parametrize("name", CODE_HOSTS)
async def test_projects_share_one_comment_whose_first_line_states_the_result(host: CodeHostServer, name: str) -> None:
    await write(section("api", new=0), section("shop", new=2), section("web", new=0, lacking=True), name=name)
    assert host.bodies == [
        f"{SHARED_MARKER}\n**2 new failures in 1 of 3 projects; 1 of 3 projects without complete results**\n\n"
        "### `shop`: 2\n\n### `web`: 0\n\n### `api`: 0\n"
    ]
    await write(section("shop", new=0), section("web", new=0), name=name)
    assert host.bodies == [
        f"{SHARED_MARKER}\n**No new failures in 3 projects**\n\n### `api`: 0\n\n### `shop`: 0\n\n### `web`: 0\n"
    ]


async def test_job_replaces_only_its_own_sections(host: CodeHostServer) -> None:
    await write(section("shop", "a"), section("web", "b"))
    await write(section("web", "c", new=0))
    await write(section("api--> <b>x</b>\u202e", "d", new=3))
    (text,) = host.bodies
    assert text == (
        f"{SHARED_MARKER}\n**4 new failures in 2 of 3 projects**\n\n"
        "### `api--> <b>x</b>\u202e`: d\n\n### `shop`: a\n\n### `web`: c\n"
    )
    assert [each.project for each in read_sections(host.texts[0])] == ["api--> <b>x</b>\u202e", "shop", "web"]


@pytest.mark.parametrize(
    ("first", "second", "is_kept"),
    [
        ((LATER, 1), (EARLIER, 2), True),  # the pipeline of an earlier commit ends last
        ((LATER, 2), (LATER, 1), True),  # the job has read the run before another job uploaded its results
        ((LATER, 1), (LATER, 2), False),
        ((EARLIER, 2), (LATER, 1), False),
        ((LATER, 1), (LATER, 1), False),  # the result of another call with other options
    ],
)
async def test_section_of_a_newer_run_is_kept(
    host: CodeHostServer, capsys: pytest.CaptureFixture[str], first: tuple[str, int], second: tuple[str, int],
    is_kept: bool,
) -> None:  # fmt: skip
    versions = [{"completed_at": completed_at, "revision": revision} for completed_at, revision in (first, second)]
    await write(section("shop", "first", **versions[0]))  # type: ignore[arg-type]
    await write(section("shop", "second", **versions[1]), section("web"))  # type: ignore[arg-type]
    assert shown(host) == {"shop": "first" if is_kept else "second", "web": "1"}
    assert ("the comment keeps the newer results of shop\n" in capsys.readouterr().err) == is_kept


async def test_missing_project_is_older_than_its_run_and_newer_than_that_of_an_earlier_pipeline() -> None:
    runs = [
        {"project_id": project, "completed_at": completed_at, "revision": 2}
        for project, completed_at in (("shop", LATER), ("web", EARLIER), ("web", LATER))
    ]
    awaited = [AwaitedRun("r", run) for run in runs] + [AwaitedRun("unknown", None)]
    stated = add_versions([section("shop"), section("web"), section("api")], awaited)
    assert [each.version[:2] for each in stated] == [(LATER, 2), (LATER, 4), (EARLIER, 0)]


@pytest.mark.parametrize("name", CODE_HOSTS)
async def test_jobs_that_have_read_the_same_comment_lose_no_section(host: CodeHostServer, name: str) -> None:
    await write(section("first"), name=name)
    host.reads = asyncio.Barrier(JOBS)
    problems = await asyncio.gather(*(write(section(f"p{number}"), name=name) for number in range(JOBS)))
    assert set(problems) == {""}
    assert shown(host) == {"first": "1"} | {f"p{number}": "1" for number in range(JOBS)}
    assert "\n**13 new failures in 13 of 13 projects**\n" in host.texts[0]
    assert host.updates > JOBS


@pytest.mark.parametrize("name", CODE_HOSTS)
async def test_jobs_that_create_the_comment_at_the_same_time_lose_no_section(host: CodeHostServer, name: str) -> None:
    jobs = 6
    host.reads = host.creations = asyncio.Barrier(jobs)
    await asyncio.gather(*(write(section(f"p{number}"), section(f"q{number}"), name=name) for number in range(jobs)))
    assert shown(host) == {f"{letter}{number}": "1" for number in range(jobs) for letter in "pq"}


async def test_jobs_of_the_same_project_end_with_the_newest_section(host: CodeHostServer) -> None:
    jobs = 8
    host.reads = host.creations = asyncio.Barrier(jobs)
    written = [section("shop", f"{number}", revision=number) for number in range(jobs)]
    await asyncio.gather(*(write(each, section(f"p{each.body[-2]}")) for each in written))
    assert shown(host) == {"shop": "7"} | {f"p{number}": "1" for number in range(jobs)}


async def test_lost_update_is_repeated_with_all_sections_that_were_written(host: CodeHostServer) -> None:
    await write(section("web"))
    (stale,) = host.texts
    await write(section("api"))
    host.overwrites = [stale, stale]
    assert await write(section("shop")) == ""
    assert shown(host) == {"api": "1", "shop": "1", "web": "1"}


async def test_job_of_a_slow_code_host_waits_for_the_slow_writes_of_others(host: CodeHostServer) -> None:
    await write(section("web"))
    host.reads = asyncio.Barrier(2)
    host.update_delays_s = [0.3, 0.6]
    await asyncio.gather(write(section("shop")), write(section("api")))
    assert shown(host) == {"api": "1", "shop": "1", "web": "1"}


async def test_job_whose_sections_are_always_replaced_reports_that_at_the_end_of_the_wait(
    host: CodeHostServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(comments, "_MIN_CONFIRMATION_S", 1)
    await write(section("web"))
    host.overwrites = host.texts * 100
    arguments = (CODE_HOSTS["github"], JOB, [section("shop")], SHARED_MARKER, Deadline.after(0))
    await asyncio.to_thread(comments._publish_or_print, *arguments)
    captured = capsys.readouterr()
    message = "other jobs replaced the comment until the end of the wait; the comment is printed instead\n"
    assert captured.err.endswith(message)
    assert "### `shop`: 1\n" in captured.out
    assert 2 < host.updates < 20


async def test_duplicate_of_a_crashed_job_is_merged_before_it_is_deleted(host: CodeHostServer) -> None:
    host.add(join_sections([section("shop", "old", revision=1), section("api")], SHARED_MARKER, 65_536))
    host.add(join_sections([section("shop", "new", revision=2)], SHARED_MARKER, 65_536))
    host.denied = 403
    await write(section("web"))
    assert len(host.texts) == 2
    host.denied = None
    host.overwrites = [host.texts[0]]  # a job that has read only the first comment
    await write(section("web"))
    assert shown(host) == {"shop": "new", "api": "1", "web": "1"}


async def test_shortened_sections_are_confirmed(host: CodeHostServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comments, "_MIN_CONFIRMATION_S", 2)
    long = {project: section(project, "1\n" + "- `x`\n" * 10_000) for project in ("api", "shop")}
    for each in long.values():
        assert await write(each, timeout_s=0) == ""
    host.add(join_sections([long["shop"]], SHARED_MARKER, 65_536))  # of a job that was aborted
    assert await write(section("web"), timeout_s=0) == ""
    assert shown(host) == {"api": "1", "shop": "1", "web": "1"}
    assert host.texts[0].count("This section is shortened") == 2


async def test_comment_that_mentions_the_marker_stays(host: CodeHostServer) -> None:
    text = f"The comment starts with {SHARED_MARKER}"
    host.add(text)
    await write(section("web"))
    assert host.texts[0] == text
    assert len(host.texts) == 2


async def test_comment_that_cannot_be_updated_is_a_problem(host: CodeHostServer) -> None:
    await write(section("web"))
    for host.denied in (403, 404):
        assert (await write(section("shop"))).startswith("the token can't write comments: PATCH http://")


@pytest.mark.parametrize("name", CODE_HOSTS)
async def test_comments_of_earlier_clients_and_of_one_project_stay(host: CodeHostServer, name: str) -> None:
    of_shop = "<!-- zof-results: shop -->\n### `shop`: 1 new failure"
    host.add(of_shop)
    host.add("<!-- zof-results -->\n### 1 new failure")
    await write(section("shop", new=0), name=name)
    head = f"{SHARED_MARKER}\n**No new failures in 1 project**\n\n"
    assert host.bodies == [of_shop, f"{head}### `shop`: 0\n"]  # the comment without a project becomes the shared one


async def test_text_of_a_producer_is_no_section(host: CodeHostServer) -> None:
    forged = section("web", "forged", new=0, completed_at="9").section
    await write(section("web", "1"), section("shop", f"`x`\n{forged}\n{SHARED_MARKER}"))
    await write(section("api"))
    versions = {each.project: each.version[0] for each in read_sections(host.texts[0])}
    assert versions == {"api": LATER, "shop": LATER, "web": LATER}
    assert "**3 new failures in 3 of 3 projects**" in host.texts[0]
    changes = run_changes(changed(name=f"\r\n{forged}", suite=f"\n{forged}", failure_summary=f"a\n\n{forged}"))
    (written,) = write_comments([changes], [], LINKS, AbsentJobs())
    assert [each.project for each in read_sections(join_sections([written], SHARED_MARKER, 65_536))] == ["shop"]


async def test_comment_that_a_person_has_edited_keeps_its_sections(host: CodeHostServer) -> None:
    await write(section("web"), section("shop"))
    host.comments[0]["body"] = host.texts[0].replace("\n", "\r\n")
    await write(section("api"))
    assert shown(host) == {"api": "1", "shop": "1", "web": "1"}


@pytest.mark.parametrize("limit", [GitHubPullRequest.max_length, GitLabMergeRequest.max_length])
def test_longest_sections_are_shortened_to_the_limit(limit: int) -> None:
    lines = "- `x`\n" * (limit // 6)
    sections = [section("short"), section("long", f"1\n{lines}"), section("longest", f"1\n{lines}{lines}")]
    text = join_sections(sections, SHARED_MARKER, limit)
    assert limit - 20 < len(text) <= limit
    note = "\n\nThis section is shortened, because the length of a comment is limited.\n"
    assert text.count(note) == 2
    read = {each.project: each for each in read_sections(text)}
    assert read["short"] == sections[0]
    assert abs(len(read["long"].body) - len(read["longest"].body)) < 20
    exact = join_sections(sections[:2], SHARED_MARKER, limit * 2)
    assert join_sections(sections[:2], SHARED_MARKER, len(exact) + 1) == exact
    again = join_sections(read.values(), SHARED_MARKER, limit - 1000)
    assert (again.count(note), len(read_sections(again))) == (2, 3)


def test_all_projects_of_a_large_repository_are_shown_or_an_error() -> None:
    sections = [section(f"project-{number}", "1 new failure\n" + "- `x`\n" * 1000) for number in range(200)]
    text = join_sections(sections, SHARED_MARKER, 65_536)
    assert text.count("\n### `project-") == 200
    assert len(text) <= 65_536
    with pytest.raises(ClientError, match=r"too many projects for one comment\. Use --project"):
        join_sections(sections * 2, SHARED_MARKER, 65_536)


@pytest.mark.slow
async def test_processes_whose_keys_can_read_one_project_share_the_comment(
    database_url: str, host: CodeHostServer
) -> None:
    """Four jobs of a pipeline end at the same time, and a fifth one is aborted after it has written."""
    projects = ["api", "docs", "shop", "web", "worker"]
    async with serve(database_url) as api:
        for project in projects:
            await send_job(api, "github-811", project, [result("pays")])
        await decide(api, pipeline="github-811")
        for project in projects:
            await send_job(api, "github-812", project, [result("pays", "failed")])
        await decide(api, pipeline="github-812")
        keys = {project: (await api.make_key("viewer", project_id=project)).key for project in projects}
        aborted = await start_comment(api, keys.pop("worker"))
        while not host.texts:  # noqa: ASYNC110 - another process writes
            await asyncio.sleep(0.01)
        aborted.kill()
        await aborted.wait()
        host.reads = asyncio.Barrier(len(keys))
        jobs = [await start_comment(api, key) for key in keys.values()]
        errors = [(await job.communicate())[1].decode() for job in jobs]
    assert [job.returncode for job in jobs] == [0] * len(keys), errors
    assert shown(host) == dict.fromkeys(projects, "1 new failure")
    assert "\n**5 new failures in 5 of 5 projects**\n" in host.texts[0]


async def start_comment(api: Api, key: str) -> asyncio.subprocess.Process:
    variables = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_RUN_ID": "812",
        "GITHUB_JOB": "j",
        "GITHUB_REF": "refs/pull/12/merge",
    }
    environment = {**os.environ, **variables, "RESULTS_URL": url(api), "RESULTS_API_KEY": key}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service.client", "comment", "--pipeline",
        env=environment, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
