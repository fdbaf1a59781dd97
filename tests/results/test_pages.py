"""The page of a result: its failure, change, history, and attempts."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.console.browsers import RUNS, Browser, token_of
from tests.console.sections import main_text, section
from tests.results.result_pages import attach, browsing_with_files, ingest
from tests.run_events import result

FAILURE = {
    "type": "AssertionError",
    "message": "\x1b[31mexpected <b>1</b>\x1b[0m",
    "details": "line 1\n\x1b[1mline 2\x1b[0m </code><script>alert(1)</script>",
}


@pytest.fixture
async def browser(database_url: str, tmp_path: Path) -> AsyncIterator[Browser]:
    async with browsing_with_files(database_url, tmp_path / "files") as browser:
        yield browser


async def test_failure_is_shown_as_text_without_escape_sequences(browser: Browser) -> None:
    page = await browser.open(await ingest(browser, result(status="failed", failure=FAILURE)))
    text = section(page, "failure")
    assert "AssertionError expected <b>1</b> line 1 line 2 </code><script>alert(1)</script>" in text
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "/console/runs/run_1/results?fingerprint=fp1_" in page


async def test_change_and_history_of_the_case_are_shown(browser: Browser) -> None:
    older = await ingest(browser, result(), run_id="run_1", branch="main", time="2026-05-20T10:00:00Z")
    newer = await ingest(browser, result(status="failed"), run_id="run_2", branch="main", time="2026-05-20T11:00:00Z")
    fixed = await ingest(browser, result(), run_id="run_3", branch="main", time="2026-05-20T12:00:00Z")
    page = await browser.open(newer)
    assert "New failure Passed in its only run on main" in main_text(page)
    assert "Last 3 results: 2 passed, 1 failed" in page
    strip = page.partition('<svg class="strip"')[2]
    assert strip.index(f'href="{older}"') < strip.index(f'href="{newer}"') < strip.index(f'href="{fixed}"')
    assert strip.count('aria-current="true"') == 1
    assert f'href="{newer}" aria-current="true"' in strip
    assert "Fixed Failed in run_2" in main_text(await browser.open(fixed))
    assert "Not compared" in main_text(await browser.open(older))
    assert "Added" not in main_text(await browser.open(older))
    same = await ingest(browser, result(), run_id="run_4", branch="main", time="2026-05-20T13:00:00Z")
    unchanged = await browser.open(same)
    assert "Unchanged, passed in run_3" in main_text(unchanged)
    assert "#i-dot" not in unchanged.partition("<main")[2]
    assert "/console/cases/case_" in page


async def test_quarantine_is_stated(browser: Browser) -> None:
    path = await ingest(browser, result(status="failed"))
    quarantine = {"project_id": "shop", "name": "logs in", "reason": "ticket is open"}
    assert (await browser.api.send("POST", "/v1/quarantines", json=quarantine)).status == 201
    text = main_text(await browser.open(path))
    assert "Quarantined until" in text
    assert "ticket is open" in text


async def test_attempts_are_listed(browser: Browser) -> None:
    attempts = [{"status": "failed", "failure": FAILURE}, {"status": "passed", "logs_ref": "javascript:alert(1)"}]
    page = await browser.open(await ingest(browser, result(attempts=attempts)))
    assert "Flaky" in main_text(page)
    assert "Attempts 2 Failed in attempt 1, passed in attempt 2 1 Failed" in section(page, "attempts")
    assert "last failing attempt" in section(page, "failure")
    assert 'href="javascript' not in page


async def test_rerun_that_passes_is_flaky_and_shows_the_output_of_each_attempt(browser: Browser) -> None:
    failed, passed = result(status="failed", failure=FAILURE), result()
    await ingest(browser, failed, part="unit", attempt=11)
    path = await ingest(browser, passed, part="unit", attempt=12)
    await attach(browser, path, "stdout.txt", b"the first output", "text/plain")
    await attach(browser, path, "stdout (attempt 2).txt", b"the second output", "text/plain")
    page = await browser.open(path)
    text = section(page, "attempts")
    assert "Failed in attempt 1 of job unit, passed in attempt 2" in text
    first, _, second = text.partition("2 Passed")
    assert "Attempt 1 of job unit" in first
    assert "the first output" in first
    assert "the second output" not in first
    assert "Attempt 2 of job unit" in second
    assert "the second output Download" in second
    assert section(page, "log-1") == ""
    assert section(page, "artifacts") == ""


async def test_output_of_an_unknown_attempt_is_shown_with_no_attempt(browser: Browser) -> None:
    failed = result(status="failed", failure=FAILURE)
    await ingest(browser, failed, part="unit", attempt=1)
    path = await ingest(browser, failed, part="unit", attempt=2)
    await attach(browser, path, "server.log", b"the output", "text/plain")
    page = await browser.open(path)
    assert "the output" not in section(page, "attempts")
    assert "the output" in section(page, "log-1")


async def test_failures_of_the_run_are_linked(browser: Browser) -> None:
    names = ("a", "b", "c")
    await ingest(browser, *(result(name, "failed") for name in names), result("passes"))
    failing = {
        each["id"]: each["name"] for each in (await browser.api.get("/v1/results", {"status": "failed"}))["data"]
    }
    visited, path = [], f"/console/results/{sorted(failing, key=signed_key)[0]}"
    while path:
        page = await browser.open(path)
        visited.append(path.rpartition("/")[2])
        assert f"Failure {len(visited)} of 3" in main_text(page)
        previous = re.search(r'rel="prev" data-key="p"[^>]*href="/console/results/(\w+)"', page)
        assert (previous[1] if previous else None) == (visited[-2] if len(visited) > 1 else None)
        following = re.search(r'rel="next" data-key="n"[^>]*href="([^"]+)"', page)
        path = following[1] if following else ""
    assert set(visited) == set(failing)
    passed = (await browser.api.get("/v1/results", {"status": "passed"}))["data"][0]["id"]
    assert "Failures of the run" not in await browser.open(f"/console/results/{passed}")


def signed_key(result_id: str) -> int:
    """Return the key of the case, by which the failures of a run are sorted."""
    number = int(result_id[-16:], 16)
    return number - 2**64 if number >= 2**63 else number


async def test_form_quarantines_the_case_of_the_failure(browser: Browser) -> None:
    failed = result(status="failed", failure=FAILURE, properties={"owner": "web team"})
    path = await ingest(browser, failed)
    page = await browser.open(path)
    form = page.partition('id="quarantine"')[2].partition("</form>")[0]
    assert "expected &lt;b&gt;1&lt;/b&gt;</textarea>" in form
    assert 'value="web team"' in form
    action = re.search(r'action="(/console/cases/case_\w+)#quarantine"', form)
    expires = re.search(r'name="expires_at"[^>]*value="([^"]+)"|value="([^"]+)"[^>]*name="expires_at"', form)
    assert action is not None
    assert expires is not None
    fields = {"form_token": token_of(page), "reason": "known", "expires_at": expires[1] or expires[2]}
    assert (await browser.post(action[1], fields)).status == 303
    page = await browser.open(path)
    assert "known" in main_text(page)
    assert 'id="quarantine"' not in page


async def test_result_has_a_link_to_copy_and_the_place_of_its_failure(browser: Browser) -> None:
    failure = {"message": "expected 1", "details": "tests/test_cart.py:97: AssertionError"}
    path = await ingest(browser, result(status="failed", file="tests/test_cart.py", failure=failure))
    page = await browser.open(path)
    assert f'href="{path}" data-copy' in page
    assert "At tests/test_cart.py:97" in section(page, "failure")


CONTEXT: dict[str, Any] = {
    "commit_sha": "c0ffee0123456789", "pull_request": "7", "repository_url": "https://github.com/acme/shop",
    "job_url": "https://ci.example.com/jobs/3", "title": "Pay in euros", "author": "Ann", "workflow": "tests",
    "pipeline": "github-812",
}  # fmt: skip


async def test_code_is_linked_at_the_commit(browser: Browser) -> None:
    failure = {"message": "expected 1", "details": "tests/test_cart.py:97: AssertionError"}
    path = await ingest(browser, result(status="failed", file="tests/test_cart.py", failure=failure), **CONTEXT)
    page = await browser.open(path)
    repository = "https://github.com/acme/shop"
    commit = "c0ffee0123456789"
    for url in (
        f"{repository}/blob/{commit}/tests/test_cart.py#L97", f"{repository}/commit/{commit}", f"{repository}/pull/7",
        "https://ci.example.com/jobs/3",
    ):  # fmt: skip
        assert re.search(f'href="{re.escape(url)}" rel="noopener noreferrer nofollow"', page), url
    changed = {"code_url_pattern": "https://code.example.com/{commit}/{file}?l={line}"}
    assert (await browser.api.send("PATCH", "/v1/projects/shop", json=changed)).status == 200
    assert f"https://code.example.com/{commit}/tests/test_cart.py?l=97" in await browser.open(path)
    run = await browser.open("/console/runs/run_1")
    for text in ("Pay in euros", "run_1", "Ann", "Workflow tests", "Pipeline github-812"):
        assert text in main_text(run)
    assert f'href="{repository}/pull/7"' in run


async def test_run_without_a_known_code_host_has_no_links(browser: Browser) -> None:
    source = {**CONTEXT, "repository_url": "https://code.example.com/acme/shop", "pipeline": None}
    failure = {"message": "at tests/test_cart.py:97"}
    page = await browser.open(await ingest(browser, result(status="failed", failure=failure), **source))
    assert "At tests/test_cart.py:97" in section(page, "failure")
    assert 'href="https://code' not in page


async def test_passed_result_has_no_failure(browser: Browser) -> None:
    page = await browser.open(
        await ingest(browser, result(file="a.py", properties={"owner": "<web>"}, variant={"os": "linux"}))
    )
    assert section(page, "failure") == section(page, "attempts") == ""
    assert "a.py" in section(page, "details")
    assert "owner <web>" in section(page, "details")
    assert "os: linux" in main_text(page)


async def test_result_of_others_is_not_found(browser: Browser) -> None:
    path = await ingest(browser, result(), project_id="blog")
    file = await attach(browser, path, "a.log", b"text")
    key = await browser.api.make_key(project_id="shop")
    _, other_key = await browser.api.make_organization("other")
    unknown = f"/console/artifacts/art_{'0' * 64}"
    for unauthorized in (key.key, other_key):
        await browser.post("/console/sign-out", {"form_token": token_of(await browser.open(RUNS))})
        await browser.sign_in(unauthorized)
        for page in (path, file, "/console/results/res_1", "/console/artifacts/art_1", unknown):
            await browser.open(page, 404)
