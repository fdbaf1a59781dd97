"""Requests for costs: groups, ranges, results of today, merged months, rankings, and statistics of owners."""

from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import pytest

from service.costs import store as costs_store
from service.costs.roll_up import roll_up_costs
from service.database import statements
from tests.costs.test_roll_up import DAY, OLD, PERIOD, TODAY, at, attempt, run
from tests.owners import set_owners
from tests.run_events import result
from tests.served import Api

PATH: Final = "/v1/costs"
SHOP: Final = {"project_id": "shop"}
RETRIED: Final = [attempt("failed", 20), attempt("passed", 30)]


async def fill(api: Api) -> None:
    """Store a run of an earlier day and one of today; roll up the former. The cases have owners."""
    now = datetime.now(UTC).isoformat()
    await api.store.ingest(
        run("old", [result("a", attempts=RETRIED, duration_ms=50), result("b", "failed", duration_ms=5)], part="unit"),
        run("empty", [result("c", "skipped", suite="other", duration_ms=None)], part="e2e"),
        run("blog", [result("x", duration_ms=1000)], project_id="blog"),
    )
    await roll_up_costs(api.store.pool, PERIOD)
    today = run("today", [result("b", duration_ms=100), result("c", suite="other", duration_ms=None)], TODAY, time=now)
    del today["data"]["run"]["completed_at"]
    await api.store.ingest(today)
    owners = {"name = 'a' AND project_id = 'shop'": ["pay", "web"], "name = 'b' AND project_id = 'shop'": ["web"]}
    await set_owners(api.store.pool, owners)


def brief(costs: Any) -> list[tuple[Any, ...]]:
    """Return the main numbers of each group."""
    names = (
        "results",
        "attempts",
        "unknown_durations",
        "duration_ms",
        "retry_duration_ms",
        "p95_duration_ms",
        "p95_runs",
    )
    return [
        ((item["case"] or {}).get("name", item["group"]), *(item[name] for name in names)) for item in costs["data"]
    ]


GROUPS: Final[dict[str, list[tuple[Any, ...]]]] = {
    "case": [("b", 2, 2, 0, 105, 0, 100, 2), ("a", 1, 2, 0, 50, 20, 50, 1), ("c", 2, 1, 1, 0, 0, None, 2)],
    "suite": [("auth.login", 3, 4, 0, 155, 20, 100, 2), ("other", 2, 1, 1, 0, 0, 0, 2)],
    "owner": [("web", 3, 4, 0, 155, 20, 100, 2), ("pay", 1, 2, 0, 50, 20, 50, 1), ("", 2, 1, 1, 0, 0, 0, 2)],
    "job": [("", 2, 2, 1, 100, 0, 100, 1), ("unit", 2, 3, 0, 55, 20, 55, 1), ("e2e", 1, 0, 0, 0, 0, 0, 1)],
    "project": [("shop", 5, 5, 1, 155, 20, 100, 3)],
}


@pytest.mark.parametrize("group", GROUPS)
async def test_groups_have_the_sums_of_rolled_up_days_and_of_today(api: Api, group: str) -> None:
    await fill(api)
    costs = await api.get(PATH, {**SHOP, "group_by": group})
    assert brief(costs) == GROUPS[group]
    assert (costs["from"], costs["to"]) == (str(TODAY - timedelta(days=29)), str(TODAY))
    assert (costs["runs"], costs["truncated"], costs["has_more"]) == (3, False, False)
    limited = await api.get(PATH, {**SHOP, "group_by": group, "limit": "1"})
    assert brief(limited) == GROUPS[group][:1]
    only = await api.get(PATH, {**SHOP, "group_by": group, "from": str(DAY), "to": str(DAY)})
    assert (only["runs"], sum(item["results"] for item in only["data"])) == (2, {"owner": 4}.get(group, 3))


async def test_owner_filters_groups_of_cases(api: Api) -> None:
    await fill(api)
    assert [row[0] for row in brief(await api.get(PATH, {**SHOP, "owner": "pay"}))] == ["a"]
    assert brief(await api.get(PATH, {**SHOP, "owner": "pay", "group_by": "suite"}))[0][:2] == ("auth.login", 1)
    assert [row[0] for row in brief(await api.get(PATH, {**SHOP, "owner": "web", "group_by": "owner"}))] == ["web"]


async def test_projects_are_compared_without_a_project(api: Api) -> None:
    await fill(api)
    costs = await api.get(PATH, {"group_by": "project"})
    assert ([row[0] for row in brief(costs)], costs["runs"]) == (["blog", "shop"], 4)
    bound = await api.make_key("viewer", project_id="shop")
    assert [row[0] for row in brief(await api.get(PATH, {"group_by": "project"}, key=bound.key))] == ["shop"]
    assert (await api.get(PATH, {"project_id": "blog"}, key=bound.key))["data"] == []


async def test_range_that_touches_a_merged_month_contains_it(api: Api) -> None:
    first = OLD.replace(day=1)
    await api.store.ingest(
        run("one", [result("a", duration_ms=5)], first), run("two", [result("a", duration_ms=7)], OLD)
    )
    await api.store.ingest(run("day", [result("a", duration_ms=1)], DAY))
    await roll_up_costs(api.store.pool, PERIOD)
    last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    for range_, stated in (((OLD, TODAY), (first, TODAY)), ((first, OLD), (first, last)), ((OLD, OLD), (first, last))):
        costs = await api.get(PATH, {**SHOP, "from": str(range_[0]), "to": str(range_[1])})
        assert (costs["from"], costs["to"]) == tuple(map(str, stated)), range_
        assert costs["data"][0]["duration_ms"] == (13 if stated[1] == TODAY else 12)
        assert costs["runs"] == (3 if stated[1] == TODAY else 2)
    after = await api.get(PATH, {**SHOP, "from": str(last + timedelta(days=1))})
    assert (after["from"], after["runs"]) == (str(last + timedelta(days=1)), 1)


async def test_open_days_are_read_within_the_scan_budget(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    for number in range(3):
        event = run(f"r{number}", [result("a", duration_ms=1), result("b")], TODAY, time=now.isoformat())
        event["data"]["run"]["completed_at"] = (now - timedelta(minutes=number)).isoformat()
        await api.store.ingest(event)
    monkeypatch.setitem(statements._BUDGETS, "read_budget", 5)
    statements.compose.cache_clear()
    costs = await api.get(PATH, {**SHOP, "group_by": "project", "from": str(TODAY - timedelta(days=1))})
    statements.compose.cache_clear()
    assert (costs["truncated"], costs["runs"], costs["data"][0]["results"]) == (True, 2, 4)


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({}, "project_id"),
        ({"group_by": "suite"}, "project_id"),
        ({**SHOP, "group_by": "job", "owner": "web"}, "owner"),
        ({"group_by": "project", "owner": "web"}, "owner"),
        ({**SHOP, "from": "2026-05-20", "to": "2026-05-19"}, "to"),
        ({**SHOP, "from": "9999-12-31"}, "from"),
        ({**SHOP, "from": "0001-01-01"}, "from"),
        ({**SHOP, "from": "yesterday"}, "from"),
        ({**SHOP, "limit": "101"}, "limit"),
        ({**SHOP, "group_by": "branch"}, "group_by"),
    ],
)
async def test_wrong_parameter_is_named(api: Api, params: dict[str, str], param: str) -> None:
    assert (await api.error(PATH, 400, params))["param"] == param


async def test_first_days_of_the_calendar_have_no_costs(api: Api) -> None:
    assert (await api.get(PATH, {**SHOP, "to": "0001-01-01"}))["data"] == []


async def test_cases_are_ranked_by_total_duration(api: Api) -> None:
    await fill(api)
    ranked = await api.get("/v1/cases", {**SHOP, "sort": "total_duration"})
    costs = [case["costs"] for case in ranked["data"]]
    assert [case["name"] for case in ranked["data"]] == ["b", "a", "c"]
    days = {"from": str(TODAY - timedelta(days=29)), "to": str(TODAY), "runs": 3}
    assert costs[1] == {**days, "results": 1, "attempts": 2, "duration_ms": 50, "retry_duration_ms": 20}
    assert ranked["truncated"] is False
    for filters, names in (({"q": "A"}, ["b", "a"]), ({"suite": "other"}, ["c"]), ({"state": "broken"}, [])):
        found = await api.get("/v1/cases", {**SHOP, "sort": "total_duration", **filters})
        assert [case["name"] for case in found["data"]] == names
    before = await api.get("/v1/cases", {**SHOP, "sort": "total_duration", "from": str(DAY), "to": at(TODAY, 0)})
    assert (before["data"][0]["name"], before["data"][0]["costs"]["to"]) == ("a", str(TODAY - timedelta(days=1)))
    assert (await api.error("/v1/cases", 400, {**SHOP, "sort": "total_duration", "branch": "main"}))[
        "param"
    ] == "branch"
    assert {case["costs"] for case in (await api.get("/v1/cases", SHOP))["data"]} == {None}


async def test_statistics_are_grouped_by_owner(api: Api) -> None:
    await fill(api)
    stats = await api.get("/v1/stats", {**SHOP, "group_by": "owner"})
    of_day = [bucket for bucket in stats["data"] if bucket["start"].startswith(str(DAY))]
    assert [(b["group"], b["runs"], b["passed"], b["failed"], b["skipped"], b["flaky"]) for b in of_day] == [
        ("", 2, 0, 0, 1, 0), ("pay", 2, 1, 0, 0, 1), ("web", 2, 1, 1, 0, 1),
    ]  # fmt: skip
    assert {(b["failed_runs"], b["duration_p50_ms"], b["duration_p95_ms"]) for b in stats["data"]} == {
        (None, None, None)
    }
    assert [b["pass_rate"] for b in of_day] == [None, 1.0, 0.5]
    assert stats["truncated"] is False
    weeks = await api.get("/v1/stats", {**SHOP, "group_by": "owner", "interval": "week"})
    assert sum(b["passed"] + b["failed"] for b in weeks["data"] if b["group"] == "web") == 3
    assert all(date.fromisoformat(b["start"][:10]).weekday() == 0 for b in weeks["data"])
    assert (await api.error("/v1/stats", 400, {**SHOP, "group_by": "owner", "interval": "hour"}))["param"] == "interval"
    assert (await api.error("/v1/stats", 400, {"group_by": "owner"}))["param"] == "project_id"


async def test_owners_with_few_results_are_one_group(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(api)
    monkeypatch.setattr("service.stats.operations.MAX_GROUPS", 2)
    stats = await api.get("/v1/stats", {**SHOP, "group_by": "owner", "interval": "week"})
    assert {bucket["group"] for bucket in stats["data"]} == {"web", None}


async def test_merged_months_have_no_buckets_of_owners(api: Api) -> None:
    await api.store.ingest(run("one", [result("a")], OLD), run("two", [result("a")], DAY))
    await roll_up_costs(api.store.pool, PERIOD)
    stats = await api.get("/v1/stats", {**SHOP, "group_by": "owner", "from": str(OLD - timedelta(days=5))})
    assert [bucket["start"][:10] for bucket in stats["data"]] == [str(DAY)]
    following = (OLD.replace(day=1) + timedelta(days=31)).replace(day=1)
    assert (stats["truncated"], stats["from"][:10]) == (True, str(following))


async def test_deletion_of_a_run_marks_its_day(api: Api) -> None:
    await fill(api)
    assert (await api.send("DELETE", "/v1/runs/old")).status == 204
    await roll_up_costs(api.store.pool, PERIOD)
    assert brief(await api.get(PATH, {**SHOP, "to": str(DAY)})) == [("c", 1, 0, 0, 0, 0, None, 1)]
    assert timedelta(hours=1) > costs_store._OPEN_FOR
