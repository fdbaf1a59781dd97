"""Cases over HTTP: statistics, compared with values computed by hand, list, and history."""

from typing import Any

import pytest
import pytest_asyncio

from tests.run_events import result, run_event
from tests.served import Api

DURATIONS = [100, 200, 300, 400, 1000]
STATUSES = ["passed", "failed", "passed", "skipped", "error"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stored(shared_api: Api) -> Api:
    """Store five daily runs of one case: flaky on the third day, error on the last."""
    for day, (status, duration_ms) in enumerate(zip(STATUSES, DURATIONS, strict=True), 1):
        fields: dict[str, Any] = {"duration_ms": duration_ms}
        if day == 3:
            fields["attempts"] = [{"status": "failed"}, {"status": "passed"}]
        await shared_api.store.ingest(
            run_event(f"run_{day}", [result("pays", status, case_id="tc_pay", **fields), result("logs in")],
                      completed_at=f"2026-05-{day:02}T00:00:00Z")
        )  # fmt: skip
    await shared_api.store.ingest(run_event("blog", [result("posts")], project_id="blog"))
    return shared_api


async def find(api: Api, name: str, **params: str) -> Any:
    cases = await api.list_all("/v1/cases", {"project_id": "shop", "limit": "1", **params})
    return next(case for case in cases if case["name"] == name)


async def test_statistics_cover_only_executed_results(stored: Api) -> None:
    case = await find(stored, "pays")
    assert case == {
        "id": case["id"], "project_id": "shop", "case_id": "tc_pay", "variant": {}, "suite": "auth.login",
        "name": "pays",
        "file": None, "owners": [], "last_status": "error", "last_run_id": "run_5",
        "last_completed_at": "2026-05-05T00:00:00.000Z", "runs": 5,
        "executed": 4, "failed": 2, "flaky": 1,
        "failure_rate": 0.5, "flaky_rate": 0.25, "mean_duration_ms": 400, "p95_duration_ms": 1000,
        "trusted": True,
        "state": {
            "value": "healthy", "environment": None, "since_run_id": None, "last_passed_run_id": None,
            "first_commit": None, "last_good_commit": None, "runs": None, "failed": None, "flaky": None,
            "failure_rate": None,
        },
        "costs": None,
    }  # fmt: skip
    assert await stored.get(f"/v1/cases/{case['id']}") == case


async def test_runs_parameter_limits_the_statistics(stored: Api) -> None:
    case = await find(stored, "pays", runs="2")
    assert (case["runs"], case["failure_rate"], case["mean_duration_ms"]) == (2, 1.0, 1000)
    assert (await stored.get(f"/v1/cases/{case['id']}", {"runs": "2"})) == case


async def test_list_is_filtered_by_project_and_suite(stored: Api) -> None:
    assert {case["name"] for case in await stored.list_all("/v1/cases", {"project_id": "shop"})} == {"pays", "logs in"}
    assert await stored.list_all("/v1/cases", {"project_id": "shop", "suite": "other"}) == []
    assert len(await stored.list_all("/v1/cases", {"project_id": "shop", "suite": "auth.login", "limit": "1"})) == 2
    assert (await stored.error("/v1/cases", 400))["param"] == "project_id"
    bound = (await stored.make_key(project_id="blog")).key
    assert [case["name"] for case in (await stored.get("/v1/cases", key=bound))["data"]] == ["posts"]
    assert (await stored.get("/v1/cases", {"project_id": "shop"}, bound))["data"] == []


async def test_history_lists_results_newest_first(stored: Api) -> None:
    case = (await find(stored, "pays"))["id"]
    history = await stored.list_all(f"/v1/cases/{case}/history", {"limit": "2"})
    assert [item["run_id"] for item in history] == ["run_5", "run_4", "run_3", "run_2", "run_1"]
    assert history == await stored.list_all("/v1/results", {"case": case})
    failing = await stored.list_all(f"/v1/cases/{case}/history", [("status", "failed"), ("status", "error")])
    assert [item["run_id"] for item in failing] == ["run_5", "run_2"]


async def test_unknown_or_foreign_case_returns_404(stored: Api) -> None:
    case = (await find(stored, "pays"))["id"]
    _, other_key = await stored.make_organization("other")
    bound = (await stored.make_key(project_id="blog")).key
    for suffix in ("", "/history"):
        for key in (other_key, bound):
            await stored.error(f"/v1/cases/{case}{suffix}", 404, key=key)
        for id_ in ("case_0000000000000000", "case_1", "tc_pay"):
            await stored.error(f"/v1/cases/{id_}{suffix}", 404)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"q": "PAYS"}, ["pays"]),
        ({"q": "login logs"}, ["logs in"]),
        ({"q": "a%"}, []),
        ({"variant": "os:linux"}, []),
        ({"from": "2026-05-06"}, []),
        ({"to": "2026-05-01"}, []),
        ({"branch": "next"}, []),
        ({"from": "2026-05-05", "to": "2026-05-06", "q": "pays"}, ["pays"]),
    ],
)
async def test_cases_are_filtered(stored: Api, params: dict[str, str], expected: list[str]) -> None:
    cases = await stored.list_all("/v1/cases", {"project_id": "shop", "limit": "1", **params})
    assert [case["name"] for case in cases] == expected
    bound = (await stored.make_key(project_id="blog")).key
    assert (await stored.get("/v1/cases", {"project_id": "shop", **params}, bound))["data"] == []


async def test_statistics_cover_the_filtered_runs(stored: Api) -> None:
    case = await find(stored, "pays", **{"from": "2026-05-02", "to": "2026-05-04"})
    found = (case["runs"], case["last_status"], case["last_run_id"], case["failure_rate"], case["flaky_rate"])
    assert found == (2, "passed", "run_3", 0.5, 0.5)


async def test_cursor_belongs_to_the_filters(stored: Api) -> None:
    page = await stored.get("/v1/cases", {"project_id": "shop", "limit": "1", "q": "s"})
    params = {"project_id": "shop", "starting_after": page["next_cursor"]}
    assert (await stored.error("/v1/cases", 400, params))["param"] == "starting_after"
    assert len((await stored.get("/v1/cases", {**params, "q": "s"}))["data"]) == 1
