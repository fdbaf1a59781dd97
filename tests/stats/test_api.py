"""Statistics about runs over HTTP: buckets, defaults, limits, and invalid values."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter

from service.stats.contract import RunStats
from tests.run_events import result, run_event
from tests.served import Api

RANGE = {"from": "2026-05-01", "to": "2026-05-03"}


@pytest.fixture
async def stored(api: Api) -> Api:
    """Store two runs on the first day, one on the second, and runs of another project and organization."""
    results = [result("a"), result("b", "failed"), result("c", "skipped")]
    await api.make_organization("other")
    for run_id, completed_at, scope in (
        ("run_1", "2026-05-01T00:00:00Z", {"branch": "main", "started_at": "2026-04-30T23:59:59Z"}),
        ("run_2", "2026-05-01T23:59:59.999Z", {}),
        ("run_3", "2026-05-02T00:00:00Z", {"branch": "main"}),
        ("run_4", "2026-05-03T00:00:00Z", {"branch": "main"}),
        ("blog_1", "2026-05-01T00:00:00Z", {"project_id": "blog", "branch": "blog"}),
        ("other_1", "2026-05-01T00:00:00Z", {"organization": "other", "branch": "other"}),
    ):
        await api.store.ingest(run_event(run_id, results, completed_at=completed_at, **scope))
    return api


def bucket(start: str, group: str | None, runs: int, duration_ms: int | None = None) -> dict[str, Any]:
    return {
        "start": f"{start}T00:00:00.000Z", "group": group, "runs": runs, "failed_runs": runs, "passed": runs,
        "failed": runs, "error": 0, "skipped": runs, "canceled": 0, "flaky": 0, "pass_rate": 0.5,
        "duration_p50_ms": duration_ms, "duration_p95_ms": duration_ms,
    }  # fmt: skip


async def test_runs_are_counted_in_the_bucket_of_their_completion(stored: Api) -> None:
    body = await stored.get("/v1/stats", {"project_id": "shop", **RANGE})
    TypeAdapter(RunStats).validate_python(body)
    assert body == {
        "from": "2026-05-01T00:00:00.000Z", "to": "2026-05-03T00:00:00.000Z", "truncated": False, "has_more": False,
        "next_cursor": None, "data": [bucket("2026-05-01", None, 2, 1000), bucket("2026-05-02", None, 1)],
    }  # fmt: skip


async def test_runs_are_grouped_by_branch(stored: Api) -> None:
    body = await stored.get("/v1/stats", {"project_id": "shop", "group_by": "branch", "interval": "week", **RANGE})
    assert body["data"] == [bucket("2026-04-27", "", 1), bucket("2026-04-27", "main", 2, 1000)]
    every_project = await stored.get("/v1/stats", {"group_by": "branch", **RANGE})
    assert {item["group"] for item in every_project["data"]} == {"", "main", "blog"}


async def test_default_range_ends_with_the_current_day(stored: Api) -> None:
    await stored.store.ingest(run_event("now", completed_at=datetime.now(UTC).isoformat()))
    body = await stored.get("/v1/stats")
    assert [(item["start"], item["runs"]) for item in body["data"]][-1] == (
        (datetime.fromisoformat(body["to"]) - timedelta(days=1)).isoformat(timespec="milliseconds")[:-6] + "Z", 1,
    )  # fmt: skip
    assert datetime.fromisoformat(body["to"]) - datetime.fromisoformat(body["from"]) == timedelta(days=30)


async def test_key_of_a_project_counts_only_its_runs(stored: Api) -> None:
    bound = (await stored.make_key(project_id="blog")).key
    assert (await stored.get("/v1/stats", RANGE, bound))["data"] == [bucket("2026-05-01", None, 1)]
    assert (await stored.get("/v1/stats", {"project_id": "shop", **RANGE}, bound))["data"] == []


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"interval": "month"}, "interval"),
        ({"interval": "hour", "from": "2026-05-01", "to": "2026-05-17T16:00:00.001Z"}, "interval"),
        ({"group_by": "status"}, "group_by"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-05-02", "to": "2026-05-02"}, "from"),
        ({"to": "2026-13-01"}, "to"),
        ({"project_id": ""}, "project_id"),
        ({"branch": "main"}, "branch"),
        ({"limit": "10"}, "limit"),
    ],
)
async def test_invalid_value_is_named(shared_api: Api, params: dict[str, str], param: str) -> None:
    assert (await shared_api.error("/v1/stats", 400, params))["param"] == param


@pytest.mark.parametrize("time", ["0001-01-01", "9999-12-31T23:59:59.999Z"])
async def test_first_and_last_times_are_valid(api: Api, time: str) -> None:
    for interval in ("hour", "week"):
        assert (await api.get("/v1/stats", {"to": time, "interval": interval}))["data"] == []
