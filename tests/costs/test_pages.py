"""The page of costs: the days and groups with their range, links, merged months, and what to do without data."""

from datetime import timedelta

import pytest

from service.console.formats import format_duration
from service.costs.model import CostSums, DayCosts
from service.costs.pages import describe_days
from service.costs.roll_up import roll_up_costs
from service.database import statements
from tests.console.browsers import Browser
from tests.console.sections import main_text, section, section_html
from tests.costs.test_api import fill
from tests.costs.test_roll_up import OLD, PERIOD, TODAY, run
from tests.run_events import result

COSTS = "/console/costs?project_id=shop"
SCOPE = f"{TODAY - timedelta(days=29)} to {TODAY} (UTC), 3 runs"


async def test_page_has_the_costs_of_cases_and_days_with_their_range(signed_in: Browser) -> None:
    await fill(signed_in.api)
    page = await signed_in.open(COSTS)
    days, costs = section(page, "days"), section(page, "costs")
    assert days.startswith(f"Duration per day {SCOPE} Duration 155ms Retry time 12.9% Executions 5 Runs 3")
    assert "1 of 5 executions have no duration" in days
    assert "55ms, of which 20ms retry time, 2 runs" in days
    assert "no runs" in days
    assert costs.startswith(
        "Case Duration Retry time Results Executions p95 per run b auth.login 105ms 0% 2 2 100ms of 2 runs"
        " a auth.login 50ms 40% 1 2 50ms of 1 run c other 0ms 1 unknown – 2 1 – of 2 runs"
    )
    assert f"{SCOPE}, of all branches." in costs
    assert section_html(page, "costs").count('href="/console/cases/case_') == 3


@pytest.mark.parametrize(
    ("group", "text", "link"),
    [
        ("suite", "auth.login 155ms 12.9% 3 4 100ms of 2 runs", "/console/tests?project_id=shop&amp;suite=auth.login"),
        ("owner", "web Costs of its cases 155ms", "/console/owners?project_id=shop&amp;owner=web"),
        ("owner", "No owner 0ms 1 unknown", "/console/costs?project_id=shop&amp;group_by=case&amp;owner=web"),
        ("job", "No CI job 100ms", ""),
        ("project", "blog 1s 0%", "/console/costs?project_id=blog"),
    ],
)
async def test_groups_link_to_their_pages(signed_in: Browser, group: str, text: str, link: str) -> None:
    await fill(signed_in.api)
    page = await signed_in.open(f"{COSTS}&group_by={group}")
    assert text in section(page, "costs")
    assert f'href="{link}"' in page or not link
    assert bool(section(page, "days")) == (group != "project")


async def test_other_pages_link_to_costs(signed_in: Browser) -> None:
    await fill(signed_in.api)
    for path in ("/console/health?project_id=shop", "/console/tests?project_id=shop"):
        assert 'href="/console/costs?project_id=shop"' in await signed_in.open(path), path
    owner = await signed_in.open("/console/owners?project_id=shop&owner=pay")
    assert 'href="/console/costs?project_id=shop&amp;owner=pay"' in owner
    costs = await signed_in.open(f"{COSTS}&owner=pay")
    assert "a auth.login 50ms" in section(costs, "costs")
    assert "b auth.login" not in section(costs, "costs")
    assert "All owners" in section(costs, "days")


async def test_tests_are_ranked_by_total_duration_of_all_branches(signed_in: Browser) -> None:
    await fill(signed_in.api)
    link = "/console/tests?project_id=shop&amp;sort=total_duration"
    assert f'href="{link}"' in await signed_in.open("/console/tests?project_id=shop&branch=main")
    ranked = section(await signed_in.open("/console/tests?project_id=shop&sort=total_duration"), "tests")
    assert "Total duration" in ranked
    assert "50ms in 2 executions 40% retry time" in ranked
    assert ranked.index("105ms in 2 executions") < ranked.index("50ms in 2 executions")
    assert f"Total durations of {SCOPE} of all branches" in ranked
    wrong = await signed_in.open("/console/tests?project_id=shop&sort=total_duration&branch=main", 400)
    assert "Branch: is not supported" in main_text(wrong)


async def test_pages_without_data_state_what_to_do(signed_in: Browser) -> None:
    assert "No runs yet" in main_text(await signed_in.open("/console/costs"))
    await signed_in.api.store.ingest(run("a", [result("a", duration_ms=5)], OLD))
    empty = await signed_in.open(COSTS)
    assert "No runs in this range Select an earlier first day" in section(empty, "costs")
    assert "No costs of web" in section(await signed_in.open(f"{COSTS}&owner=web"), "costs")
    since = f"{COSTS}&from={OLD}"
    assert "Show how to send them" in section(await signed_in.open(f"{since}&group_by=owner"), "costs")
    assert "--part unit" in section(await signed_in.open(f"{since}&group_by=job"), "costs")
    assert "No runs of the project docs" in main_text(await signed_in.open("/console/costs?project_id=docs"))


@pytest.mark.parametrize(
    "wrong", ["from=2026-01-02&to=2026-01-01", "from=2020-01-01", "group_by=job&owner=web", "to=x"]
)
async def test_wrong_filters_are_named(signed_in: Browser, wrong: str) -> None:
    await fill(signed_in.api)
    assert "Invalid filter" in main_text(await signed_in.open(f"{COSTS}&{wrong}", 400))


async def test_range_with_a_merged_month_states_it(signed_in: Browser) -> None:
    await signed_in.api.store.ingest(run("a", [result("a", duration_ms=31_000)], OLD))
    await roll_up_costs(signed_in.api.store.pool, PERIOD)
    page = main_text(await signed_in.open(f"{COSTS}&from={OLD}"))
    assert "The range is longer than requested." in page
    days = (OLD + timedelta(days=31)).replace(day=1) - OLD.replace(day=1)
    assert f"{OLD:%b %Y} {format_duration(31_000 / days.days)} per day: 31s" in page
    assert "longer than requested" not in main_text(await signed_in.open(f"{COSTS}&from={OLD.replace(day=1)}"))


async def test_missing_runs_of_today_are_stated(signed_in: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(signed_in.api)
    assert "01:00 UTC" not in main_text(await signed_in.open(COSTS))
    monkeypatch.setitem(statements._BUDGETS, "read_budget", 1)
    statements.compose.cache_clear()
    page = await signed_in.open(COSTS)
    statements.compose.cache_clear()
    assert "The numbers lack their older runs until 01:00 UTC" in main_text(page)


def test_bars_of_months_are_means_per_day() -> None:
    month, day = OLD.replace(day=1), (OLD.replace(day=1) + timedelta(days=31)).replace(day=1)
    days = (day - month).days
    trend = describe_days(
        [
            DayCosts(month, is_month=True, runs=days, sums=CostSums(duration_ms=days * 1000, retry_ms=days * 500)),
            DayCosts(day, is_month=False, runs=1, sums=CostSums(duration_ms=1000)),
        ],
        day + timedelta(days=1),
    )
    assert [bar.column for bar in trend.chart.bars] == [0, 1]
    assert [(bar.y, bar.upper_y) for bar in trend.chart.bars] == [(50, 0), (100, 0)]
    assert trend.columns[0].label == f"{month:%b %Y}"
    assert trend.columns[2].text == "no runs"
    assert (trend.sums.duration_ms, trend.has_months) == ((days + 1) * 1000, True)
