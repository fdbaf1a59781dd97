"""The list of runs: filters, pages, and the runs that a key can see."""

import re
from datetime import UTC, datetime
from html import unescape
from typing import Any

from tests.console.browsers import RUNS, Browser
from tests.console.sections import main_text, text_of
from tests.run_events import result, run_event


def run_ids(page: str) -> list[str]:
    return re.findall(r"run_\w+", page.partition("data-live-part")[2])


async def test_list_has_the_runs_of_the_organization_newest_first(signed_in: Browser) -> None:
    store = signed_in.api.store
    await signed_in.api.make_organization("other")
    await store.ingest(run_event("run_1", time="2026-05-20T10:00:00Z"), run_event("run_2", time="2026-05-20T11:00:00Z"))
    await store.ingest(run_event("run_3", organization="other"))
    page = await signed_in.open(RUNS)
    assert list(dict.fromkeys(run_ids(page))) == ["run_2", "run_1"]


async def test_key_of_a_project_sees_only_that_project(browser: Browser) -> None:
    await browser.api.store.ingest(run_event("run_1", project_id="shop"), run_event("run_2", project_id="blog"))
    await browser.sign_in((await browser.api.make_key(project_id="shop")).key)
    assert set(run_ids(await browser.open(RUNS))) == {"run_1"}
    assert run_ids(await browser.open(f"{RUNS}?project_id=blog")) == []


async def test_filters_of_the_url_apply(signed_in: Browser) -> None:
    failed = [result(status="failed")]
    await signed_in.api.store.ingest(run_event("run_1", failed, branch="main"), run_event("run_2", branch="main"))
    page = await signed_in.open(f"{RUNS}?status=failed&status=error&branch=main")
    assert set(run_ids(page)) == {"run_1"}


async def test_empty_filters_do_not_stay_in_the_url(signed_in: Browser) -> None:
    for sent, shown in (
        ("status=failed&branch=a%26b&project_id=&from=+&status=error", "status=failed&branch=a%26b&status=error"),
        ("branch=%2F%2Fother.example&q=", "branch=//other.example"),
        ("branch=", ""),
    ):
        response = await signed_in.send("GET", f"{RUNS}?{sent}")
        assert response.status == 303
        assert response.headers["Location"] == (f"{RUNS}?{shown}" if shown else RUNS)
    assert (await signed_in.send("GET", "/console/health?project_id=shop&branch=")).status == 303


async def decide(browser: Browser, run_id: str, **policy: int) -> None:
    body = {"policy": policy, "record": True}
    response = await browser.api.send("POST", f"/v1/runs/{run_id}/decisions", json=body)
    assert response.status == 201, await response.text()


def row_of(page: str, run_id: str) -> str:
    """Return the row of a run."""
    return str(re.findall(rf'<tr data-run-id="{run_id}".*?</tr>', page, re.DOTALL)[0])


async def test_row_shows_title_author_decision_and_new_failures(signed_in: Browser) -> None:
    store, known = signed_in.api.store, result("pays", "failed")
    context = {"branch": "main", "title": "Count twice", "author": "Ada", "workflow": "Checks"}
    await store.ingest(run_event("run_1", [known], time="2026-05-20T10:00:00Z", branch="main"))
    await store.ingest(run_event("run_2", [known, result("adds", "error")], time="2026-05-20T11:00:00Z", **context))
    await store.ingest(run_event("run_3", [known], time="2026-05-20T12:00:00Z", branch="main"))
    await decide(signed_in, "run_2", max_new_failures=0)
    await decide(signed_in, "run_3", max_new_failures=0)
    page = await signed_in.open(RUNS)
    text = text_of(row_of(page, "run_2"))
    assert text.startswith("Error Gate blocked Count twice run_2 shop Checks ")
    assert "1 new 1 known main Ada" in text
    calm = row_of(page, "run_3")
    assert text_of(calm).startswith("Failed Gate passed run_3 shop ")
    assert "new" not in text_of(calm)
    assert 'class="calm"' in calm
    assert "tone-failed" not in calm.partition('class="c-counts"')[0]
    assert "tone-failed" in row_of(page, "run_2")


async def test_failures_are_not_called_new_or_known_without_a_comparison(signed_in: Browser) -> None:
    await signed_in.api.store.ingest(run_event("run_1", [result("pays", "failed")], branch="main"))
    for is_decided in (False, True):
        if is_decided:  # without a baseline
            await decide(signed_in, "run_1", max_failures=3)
        row = row_of(await signed_in.open(RUNS), "run_1")
        assert "calm" not in row
        assert 'title="1 failed"' in row
        assert " new" not in text_of(row)
        assert ("Gate passed" in row) == is_decided


async def test_decision_about_an_earlier_revision_is_not_shown(signed_in: Browser) -> None:
    store = signed_in.api.store
    await store.ingest(run_event("run_1", [result("pays")], time="2026-05-20T10:00:00Z"))
    await decide(signed_in, "run_1", max_failures=0)
    assert "Gate passed" in await signed_in.open(RUNS)
    await store.ingest(run_event("run_1", [result("adds", "failed")], time="2026-05-20T10:01:00Z", shard=2))
    assert "Gate passed" not in await signed_in.open(RUNS)


async def test_missing_parts_and_results_are_in_the_row(signed_in: Browser) -> None:
    store = signed_in.api.store
    for number in range(3):
        parts = [{"part": "unit"}, {"part": "e2e"}] if number < 2 else [{"part": "unit"}]
        for position, part in enumerate(parts):
            event = run_event(
                f"run_{number}", [result(part["part"])], time=f"2026-05-20T10:0{number}:0{position}Z", branch="main",
                **part,
            )  # fmt: skip
            [outcome] = await store.ingest(event)
            assert outcome.reason is None, outcome
    await decide(signed_in, "run_2", max_new_failures=0)
    page = await signed_in.open(RUNS)
    assert "1 job missing" in text_of(row_of(page, "run_2"))
    assert text_of(row_of(page, "run_2")).startswith("Results missing Gate passed")
    assert "tone-passed" not in row_of(page, "run_2").partition('class="c-counts"')[0]
    assert "missing" not in text_of(row_of(page, "run_1"))
    await store.ingest(run_event("run_9", [result(), {"name": 5}]))
    assert "Results missing" in text_of(row_of(await signed_in.open(RUNS), "run_9"))


async def test_runs_of_a_pull_request_are_below_their_title_and_newest_decision(signed_in: Browser) -> None:
    store = signed_in.api.store
    pull: dict[str, Any] = {"pull_request": "7", "title": "Count & add", "author": "Ada", "branch": "topic"}
    times = [f"2026-05-20T1{hour}:00:00Z" for hour in range(4)]
    await store.ingest(run_event("run_0", time=times[0], **pull), run_event("run_1", time=times[1]))
    await store.ingest(run_event("run_2", time=times[2], **pull), run_event("run_3", time=times[3]))
    await decide(signed_in, "run_2", max_failures=0)
    page = await signed_in.open(RUNS)
    assert list(dict.fromkeys(run_ids(page))) == ["run_3", "run_2", "run_0", "run_1"]
    [group] = re.findall(r'<tr class="pull">.*?</tr>', page, re.DOTALL)
    assert text_of(group) == "#7 Count & add Ada 2 runs on this page Gate passed"
    assert "Count &amp; add" not in row_of(page, "run_2")
    assert f'href="{RUNS}?pull_request=7&amp;project_id=shop"' in group
    assert "on this page" not in await signed_in.open(f"{RUNS}?limit=2")
    assert "#7" in row_of(await signed_in.open(f"{RUNS}?limit=2"), "run_2")


async def test_filters_by_author_pull_request_and_pipeline_have_suggestions(signed_in: Browser) -> None:
    store = signed_in.api.store
    await store.ingest(run_event("run_1", author="Ada", pull_request="7", title="Add", pipeline="github-1"))
    await store.ingest(run_event("run_2", author="Grace", pull_request="8", project_id="blog", branch="other"))
    page = await signed_in.open(RUNS)
    assert '<option value="Ada">Ada</option>' in page
    assert '<option value="7">Add</option>' in page
    assert 'list="f-author-list"' in page
    assert "Grace" not in await signed_in.open(f"{RUNS}?project_id=shop")
    for query in ("author=Ada", "pull_request=7", "pipeline=github-1"):
        assert set(run_ids(await signed_in.open(f"{RUNS}?{query}"))) == {"run_1"}, query


async def test_next_page_continues_after_the_last_run(signed_in: Browser) -> None:
    store = signed_in.api.store
    await store.ingest(*(run_event(f"run_{n}", time=f"2026-05-20T10:0{n}:00Z", branch="a&b") for n in range(5)))
    url, seen = f"{RUNS}?limit=2&branch=a%26b", []
    for _ in range(3):
        page = await signed_in.open(url)
        seen += list(dict.fromkeys(run_ids(page)))
        links = [unescape(link) for link in re.findall(r'href="([^"]+)"', page)]
        url = next((link for link in links if "starting_after" in link), "")
    assert (seen, url) == ([f"run_{n}" for n in range(4, -1, -1)], "")


async def test_names_of_a_producer_are_escaped(signed_in: Browser) -> None:
    text = '"><script>alert(1)</script>'
    await signed_in.api.store.ingest(run_event(f"run_1{text}", branch=text))
    page = await signed_in.open(f"{RUNS}?branch=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E")
    assert "run_1" in page
    assert "<script>alert" not in page


async def test_chart_shows_the_results_passed_of_all_runs_or_of_a_project(signed_in: Browser) -> None:
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    store = signed_in.api.store
    await store.ingest(run_event("run_1", [result("a"), result("b", "failed")], project_id="shop", completed_at=now))
    await store.ingest(run_event("run_2", [result("a", "failed")], project_id="blog", completed_at=now))
    for query in ("project_id=shop", "project_id=shop&status=passed"):
        assert "Results passed 50% 1 of 2 Runs 1" in main_text(await signed_in.open(f"{RUNS}?{query}")), query
    assert "Results passed 33.3% 1 of 3 Runs 2" in main_text(await signed_in.open(RUNS))
    assert "Results passed per day" not in await signed_in.open(f"{RUNS}?label=a:b")


async def test_empty_list_describes_the_next_step(signed_in: Browser) -> None:
    assert "client.pyz report" in await signed_in.open(RUNS)
    assert "No runs match the filters" in await signed_in.open(f"{RUNS}?branch=main")
