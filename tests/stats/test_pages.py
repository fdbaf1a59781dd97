"""The health page: the project and the branch, trends, failure groups, and rankings."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.cases.operations import rank_cases
from service.failures import store as failures_store
from service.failures.model import RankedGroups
from service.results.queries import Budgets
from service.stats import model as stats_model
from service.stats import pages as stats_pages
from tests.console.browsers import Browser
from tests.console.sections import main_text, section
from tests.run_events import result, run_event

HEALTH = "/console/health"


def days_ago(days: float) -> str:
    return f"{datetime.now(UTC) - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"


def failed(name: str, message: str = "boom", **fields: Any) -> dict[str, Any]:
    return result(name, "failed", failure={"type": "Bug", "message": message}, **fields)


def flaky(name: str) -> dict[str, Any]:
    return result(name, attempts=[{"status": "failed", "failure": {"message": "slow"}}, {"status": "passed"}])


async def store(browser: Browser, days: Sequence[float], results: list[Any], prefix: str = "run", **run: Any) -> None:
    for number, age in enumerate(days):
        fields = {"project_id": "shop", "branch": "main", "started_at": None, **run}
        event = run_event(f"{prefix}-{number}", results, time=None, completed_at=days_ago(age), **fields)
        [outcome] = await browser.api.store.ingest(event)
        assert outcome.reason is None, outcome


async def test_page_shows_trend_failures_and_rankings(signed_in: Browser) -> None:
    mixed = [failed("pays", duration_ms=300), flaky("adds"), result("slow", duration_ms=65_000), result("fast")]
    await store(signed_in, [2.1, 1.1, 0.1], mixed)
    await store(signed_in, [0.2], [result("pays"), result("slow", duration_ms=1)], prefix="fixed")
    page = await signed_in.open(HEALTH)
    trend = section(page, "trend")
    assert "Results passed 78.6% 11 of 14 Runs 4 Failed runs 3" in trend
    assert "75% of 4 results passed, 1 run, 1 failed" in trend
    groups = section(page, "failures")
    assert "boom Bug 3 1 3" in groups
    assert "slow" not in groups  # the last attempt passed
    assert "pays 75% 3 of 4 auth.login" in section(page, "failures-ranking")
    assert "adds 100% 3 of 3 auth.login" in section(page, "flaky-ranking")
    slowest = section(page, "duration-ranking")
    assert "Newest complete run More slow 1m 5s auth.login" in slowest
    assert slowest.index("slow 1m 5s") < slowest.index("pays 300ms")
    case = (await signed_in.api.get("/v1/cases", {"project_id": "shop", "sort": "flaky"}))["data"][0]
    assert f'href="/console/cases/{case["id"]}"' in page
    group = (await signed_in.api.get("/v1/failures", {"project_id": "shop"}))["data"][0]
    assert f'href="/console/failures/{group["id"]}"' in page


async def test_default_project_is_that_of_the_newest_run(signed_in: Browser) -> None:
    await store(signed_in, [0.2], [failed("pays", "of shop")])
    await store(signed_in, [0.1], [failed("posts", "of blog")], prefix="blog", project_id="blog")
    page = await signed_in.open(HEALTH)
    assert "of blog" in page
    assert "of shop" not in page
    assert "<option selected>blog</option><option>shop</option>" in page
    page = await signed_in.open(f"{HEALTH}?project_id=shop")
    assert "of shop" in page
    assert "of blog" not in page


async def test_branch_restricts_every_part(signed_in: Browser) -> None:
    await store(signed_in, [0.3, 0.2], [failed("pays", "of main", duration_ms=5)])
    await store(signed_in, [0.1], [failed("adds", "of topic", duration_ms=6), flaky("adds 2")], "topic", branch="topic")
    page = await signed_in.open(f"{HEALTH}?project_id=shop&branch=main")
    text = main_text(page)
    assert "Results passed 0% 0 of 2 Runs 2 Failed runs 2" in text
    assert "of topic" not in text
    assert "pays 100% 2 of 2 auth.login" in text
    assert "No flaky cases" in text
    assert "adds" not in text
    assert 'name="branch" type="text" value="main"' in page
    other = main_text(await signed_in.open(f"{HEALTH}?project_id=shop&branch=unknown"))
    for part in ("No runs in this range", "No failures", "No failing cases", "No flaky cases", "No durations"):
        assert part in other, part


async def test_branch_without_own_statistics_is_named(signed_in: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(stats_model.MAX_GROUPS + 1):
        ages = [0.2, 0.1] if number else [0.1]
        await store(signed_in, ages, [failed("pays")], prefix=f"b{number}", branch=f"branch-{number}")
    text = main_text(await signed_in.open(f"{HEALTH}?project_id=shop&branch=branch-0"))
    assert "No trend for this branch" in text
    assert "pays 1 of 1 auth.login" in text
    assert "No trend" not in await signed_in.open(f"{HEALTH}?project_id=shop&branch=branch-1")
    assert "Runs 41" in main_text(await signed_in.open(f"{HEALTH}?project_id=shop"))


async def test_old_failures_are_not_in_the_range_of_the_trend(signed_in: Browser) -> None:
    await store(signed_in, [40], [failed("pays", "old")])
    text = main_text(await signed_in.open(HEALTH))
    assert "No runs in this range" in text
    assert "No failures" in text
    assert "pays 1 of 1 auth.login" in text


async def test_truncated_lists_are_named(signed_in: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    await store(signed_in, [0.2, 0.1], [failed("pays"), failed("adds")])
    assert "Only the newest 5,000" not in await signed_in.open(HEALTH)
    monkeypatch.setattr(failures_store, "_OF_PROJECT", Budgets(2_000, 3))
    assert "Only the newest 5,000 failing results" in section(await signed_in.open(HEALTH), "failures")


async def test_rankings_state_that_they_are_truncated(signed_in: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    await store(signed_in, [0.1], [failed("pays")])

    async def truncated(*arguments: Any) -> Any:
        return (await rank_cases(*arguments))._replace(truncated=True)

    monkeypatch.setattr(stats_pages, "rank_cases", truncated)
    text = main_text(await signed_in.open(HEALTH))
    assert text.count("than this ranking reads") == 3
    assert "No flaky cases" not in text


async def test_failures_that_were_not_read_are_not_called_none(
    signed_in: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def find_none(*_: Any) -> RankedGroups:
        return RankedGroups((), truncated=True)

    await store(signed_in, [0.1], [result("pays")])
    assert "No failures" in section(await signed_in.open(HEALTH), "failures")
    monkeypatch.setattr(stats_pages, "list_failures", find_none)
    text = section(await signed_in.open(HEALTH), "failures")
    assert "more failures than this page counts" in text
    assert "No failures" not in text


async def test_key_of_a_project_sees_only_that_project(browser: Browser) -> None:
    await store(browser, [0.2], [failed("pays", "of shop")])
    await store(browser, [0.1], [failed("posts", "of blog")], prefix="blog", project_id="blog")
    await browser.sign_in((await browser.api.make_key(project_id="shop")).key)
    page = await browser.open(HEALTH)
    assert "of shop" in page
    assert "blog" not in page
    other = await browser.open(f"{HEALTH}?project_id=blog")
    assert "No runs of the project blog" in main_text(other)
    assert "posts" not in other


async def test_unknown_project_and_no_runs_have_a_next_step(signed_in: Browser) -> None:
    assert "client.pyz report" in await signed_in.open(HEALTH)
    await store(signed_in, [0.1], [failed("pays")])
    page = await signed_in.open(f"{HEALTH}?project_id=no+such")
    assert "No runs of the project no such" in main_text(page)
    assert 'value="no such"' in page


async def test_project_is_a_text_field_if_there_are_many(signed_in: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats_pages, "_PROJECTS", 1)
    await store(signed_in, [0.2], [failed("pays")])
    await store(signed_in, [0.1], [failed("posts")], prefix="blog", project_id="blog")
    page = await signed_in.open(f"{HEALTH}?project_id=shop")
    assert 'name="project_id" type="text" value="shop"' in page
    assert "pays" in page


async def test_viewer_sees_tickets_without_the_form(browser: Browser) -> None:
    await store(browser, [0.1], [failed("pays", "boom"), failed("adds", "crash")])
    group = (await browser.api.get("/v1/failures", {"project_id": "shop"}))["data"][0]
    await browser.api.send("PATCH", f"/v1/failures/{group['id']}", json={"ticket_url": "https://t.example/7"})
    await browser.sign_in((await browser.api.make_key("viewer")).key)
    page = await browser.open(HEALTH)
    assert 'href="https://t.example/7"' in page
    assert "No ticket" in page
    assert 'name="ticket_url"' not in page


async def test_charts_need_at_least_two_days_and_a_duration(signed_in: Browser) -> None:
    await store(signed_in, [0.0], [result("pays", duration_ms=5)])
    page = section(await signed_in.open(f"{HEALTH}?project_id=shop"), "trend")
    assert "Results passed 1 of 1 Runs 1" in page
    assert "per day" not in page.replace("Runs per day in UTC", "")
