"""Filters of lists and exports over HTTP: what they match, whose rows they return, and invalid values."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from tests.exporting import Exports, exporting
from tests.run_events import result, run_event

FLAKY: Final = result(
    "pays by card",
    attempts=[
        {"status": "failed", "failure": {"message": "first"}},
        {"status": "error", "failure": {"type": "Timeout", "message": "no response\nafter 5 s", "details": "pay.py:7"}},
        {"status": "skipped"},
        {"status": "passed"},
    ],
)  # fmt: skip
MATCHING: Final[dict[str, str]] = {"flaky": "true"}  # the run and result that fill() names "matching"
OF_RUNS: Final = ("flaky",)


@pytest.fixture
async def exports(database_url: str, tmp_path: Path) -> AsyncIterator[Exports]:
    async with exporting(database_url, (tmp_path / "files").as_uri()) as opened:
        yield opened


async def fill(exports: Exports) -> str:
    """Store a matching run and another one in two projects and in a second organization, whose key is returned."""
    _, other_key = await exports.api.make_organization("other")
    for prefix, scope in (
        ("", {}),
        ("blog_", {"project_id": "blog"}),
        ("other_", {"organization": "other"}),
    ):
        await exports.api.store.ingest(
            run_event(f"{prefix}matching", [FLAKY, result("logs in")], **scope),
            run_event(f"{prefix}different", [result("pays by card"), result("fails", "failed")], **scope),
        )
    return other_key


def run_ids(page: Any) -> set[str]:
    return {item["run_id"] for item in page["data"]}


async def exported(exports: Exports, filters: Any) -> set[tuple[str, str]]:
    rows = orjson.loads(await exports.content(await exports.run("json", filter=filters)))
    return {(row["run_id"], row["name"]) for row in rows}


async def test_filters_are_isolated_by_organization_and_project(exports: Exports) -> None:
    other_key = await fill(exports)
    bound_key = (await exports.api.make_key(project_id="blog")).key
    keys = {None: {"matching", "blog_matching"}, other_key: {"other_matching"}, bound_key: {"blog_matching"}}
    for name, value in MATCHING.items():
        for key, expected in keys.items():
            for path in ("/v1/runs", "/v1/results") if name in OF_RUNS else ("/v1/results",):
                assert run_ids(await exports.api.get(path, {name: value}, key)) == expected, (path, name)


async def test_export_has_the_results_of_the_list(exports: Exports) -> None:
    await fill(exports)
    expected = {("matching", "pays by card"), ("blog_matching", "pays by card")}
    assert await exported(exports, {"flaky": True}) == expected
    assert len(await exported(exports, {"flaky": False})) == 6
    assert await exported(exports, {"flaky": True, "status": "failed"}) == set()


@pytest.mark.parametrize(("name", "value"), [("flaky", "yes"), ("flaky", ""), ("flaky", "1")])
async def test_invalid_value_is_named(exports: Exports, name: str, value: str) -> None:
    for path in ("/v1/runs", "/v1/results") if name in OF_RUNS else ("/v1/results",):
        error = await exports.api.error(path, 400, {name: value})
        assert (error["code"], error["param"]) == ("invalid_request", name)
    error = await exports.request(status=400, filter={name: value})
    assert error["error"]["param"] == f"filter.{name}"


async def test_false_excludes_flaky_results_and_runs(exports: Exports) -> None:
    await fill(exports)
    names = {item["name"] for item in (await exports.api.get("/v1/results", {"flaky": "false"}))["data"]}
    assert names == {"logs in", "pays by card", "fails"}
    assert run_ids(await exports.api.get("/v1/runs", {"flaky": "false"})) == {"different", "blog_different"}
    [item] = (await exports.api.get("/v1/results", {"flaky": "true", "run_id": "matching"}))["data"]
    history = f"/v1/cases/{item['case']}/history"
    assert run_ids(await exports.api.get(history, {"flaky": "false"})) == {"different"}
    assert run_ids(await exports.api.get(history, {"flaky": "true"})) == {"matching"}
    assert (await exports.api.get(history, {"flaky": "true", "status": "failed"}))["data"] == []


async def test_flaky_result_shows_its_last_failing_attempt(exports: Exports) -> None:
    await fill(exports)
    [item] = (await exports.api.get("/v1/results", {"flaky": "true", "run_id": "matching"}))["data"]
    assert (item["status"], item["failure_summary"]) == ("passed", "no response")
    full = await exports.api.get(f"/v1/results/{item['id']}")
    assert full["failure_summary"] == "no response"
    assert full["failure"] == {"type": "Timeout", "message": "no response\nafter 5 s", "details": "pay.py:7"}
    assert [attempt["failure"] is None for attempt in full["attempt_details"]] == [False, False, True, True]
