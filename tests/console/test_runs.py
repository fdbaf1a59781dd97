"""The list of runs: filters, pages, and the runs that a key can see."""

import re
from datetime import UTC, datetime
from html import unescape

from tests.console.browsers import RUNS, Browser
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


async def test_wrong_filter_names_the_field(signed_in: Browser) -> None:
    for query, field in (
        ("status=good", "status"),
        ("from=yesterday", "from"),
        ("branch=a&branch=b", "branch"),
        ("commit_sha=1", "commit_sha"),
        ("color=red", "color"),
        ("starting_after=x", "starting_after"),
        ("limit=0", "limit"),
        ("branch=%00", "branch"),
    ):
        page = unescape(await signed_in.open(f"{RUNS}?{query}", 400))
        assert f"{field}: " in page or f"'{field}'" in page, query


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


async def test_chart_shows_the_pass_rate_of_all_runs_or_of_a_project(signed_in: Browser) -> None:
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    store = signed_in.api.store
    await store.ingest(run_event("run_1", [result("a"), result("b", "failed")], project_id="shop", completed_at=now))
    await store.ingest(run_event("run_2", [result("a", "failed")], project_id="blog", completed_at=now))
    for query in ("project_id=shop", "project_id=shop&status=passed"):
        assert "<dd>50%</dd>" in await signed_in.open(f"{RUNS}?{query}"), query
    assert "<dd>33.3%</dd>" in await signed_in.open(RUNS)
    assert "Pass rate per day" not in await signed_in.open(f"{RUNS}?label=a:b")


async def test_empty_list_describes_the_next_step(signed_in: Browser) -> None:
    assert "zof-results report" in await signed_in.open(RUNS)
    assert "No runs match the filters" in await signed_in.open(f"{RUNS}?branch=main")
