"""Ranked lists of cases over HTTP: filters, isolation, and invalid values."""

from typing import Any

import pytest
import pytest_asyncio
from pydantic import TypeAdapter

from service.cases.contract import CaseList
from tests.run_events import result, run_event
from tests.served import Api

FLAKY: dict[str, Any] = {"attempts": [{"status": "failed"}, {"status": "passed"}]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stored(shared_api: Api) -> Api:
    """Store three runs on two branches, and one run of another project and of another organization."""
    await shared_api.make_organization("other")
    linux = {"variant": {"os": "linux"}}
    runs: list[tuple[str, list[Any], dict[str, Any]]] = [
        ("run_1", [result("a", "failed"), result("b", **FLAKY), result("c", duration_ms=900)], {"branch": "next"}),
        ("run_2", [result("a", "error"), result("b", "failed", **linux), result("c", "failed")], {"branch": "main"}),
        ("run_3", [result("a"), result("c", "failed", duration_ms=5), result("c", "skipped", suite="s")], {}),
        ("blog_1", [result("blog", "failed")], {"project_id": "blog"}),
        ("other_1", [result("other", "failed")], {"organization": "other"}),
    ]
    for day, (run_id, results, scope) in enumerate(runs, 1):
        await shared_api.store.ingest(run_event(run_id, results, completed_at=f"2026-05-{day:02}T00:00:00Z", **scope))
    return shared_api


async def names(api: Api, params: dict[str, Any], key: str | None = None) -> list[str]:
    body = await api.get("/v1/cases", {"project_id": "shop", **params}, key)
    TypeAdapter(CaseList).validate_python(body)
    assert (body["has_more"], body["next_cursor"], body["truncated"]) == (False, None, False)
    return [item["name"] for item in body["data"]]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"sort": "failures"}, ["c", "a", "b"]),
        ({"sort": "failures", "runs": "1"}, ["c"]),
        ({"sort": "failures", "limit": "1"}, ["c"]),
        ({"sort": "failures", "branch": "next"}, ["a"]),
        ({"sort": "failures", "from": "2026-05-03"}, ["c"]),
        ({"sort": "flaky", "to": "2026-05-02"}, ["b"]),
        ({"sort": "flaky", "from": "2026-05-02"}, []),
        ({"sort": "duration", "to": "2026-05-02", "limit": "1"}, ["c"]),
        ({"sort": "failures", "q": "LOGIN b"}, ["b"]),
        ({"sort": "failures", "variant": "os:linux"}, ["b"]),
        ({"sort": "failures", "suite": "other"}, []),
        ({"sort": "flaky"}, ["b"]),
        ({"sort": "flaky", "runs": "2"}, []),
        ({"sort": "duration"}, ["a", "c"]),
        ({"sort": "duration", "branch": "next", "limit": "1"}, ["c"]),
        ({"sort": "failures", "project_id": "none"}, []),
    ],
)
async def test_cases_are_ranked(stored: Api, params: dict[str, str], expected: list[str]) -> None:
    assert await names(stored, params) == expected


async def test_key_of_a_project_or_organization_ranks_only_its_cases(stored: Api) -> None:
    bound = (await stored.make_key(project_id="blog")).key
    _, other_key = await stored.make_organization("third")
    for sort in ("failures", "flaky", "duration"):
        assert await names(stored, {"sort": sort}, bound) == []
        assert await names(stored, {"sort": sort}, other_key) == []
    assert await names(stored, {"sort": "failures", "project_id": "blog"}, bound) == ["blog"]


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"sort": "name"}, "sort"),
        ({"branch": ""}, "branch"),
        ({"q": " "}, "q"),
        ({"variant": "os"}, "variant"),
        ({"from": "May"}, "from"),
        ({"sort": "flaky", "to": "May"}, "to"),
        ({"sort": "flaky", "variant": "os"}, "variant"),
        ({"sort": "flaky", "q": "a b c d e f"}, "q"),
        ({"sort": "flaky", "branch": ""}, "branch"),
        ({"sort": "flaky", "starting_after": "abc"}, "starting_after"),
        ({"sort": "flaky", "limit": "101"}, "limit"),
        ({"sort": "flaky", "runs": "201"}, "runs"),
    ],
)
async def test_invalid_value_is_named(shared_api: Api, params: dict[str, str], param: str) -> None:
    assert (await shared_api.error("/v1/cases", 400, {"project_id": "shop", **params}))["param"] == param


async def test_project_is_required(shared_api: Api) -> None:
    assert (await shared_api.error("/v1/cases", 400, {"sort": "flaky"}))["param"] == "project_id"
