"""Filters of lists and exports over HTTP: what they match, whose rows they return, and invalid values."""

import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from tests.exporting import Exports, exporting
from tests.run_events import result, run_event

FLAKY: Final = result(
    "pays by card",
    variant={"os": "linux", "shell": "a:b"},
    duration_ms=900,
    attempts=[
        {"status": "failed", "failure": {"message": "first"}},
        {"status": "error", "failure": {"type": "Timeout", "message": "no response\nafter 5 s", "details": "pay.py:7"}},
        {"status": "skipped"},
        {"status": "passed"},
    ],
)  # fmt: skip
COMMIT: Final = "c0ffee1" + "0" * 33
RUN: Final[dict[str, Any]] = {
    "commit_sha": COMMIT, "pull_request": "7", "pipeline": "github-7", "author": "Ada",
    "labels": {"team": "web:1", "a": "b"},
}  # fmt: skip
# Filters that match only the run and its result that fill() names "matching".
OF_RUNS: Final[list[dict[str, Any]]] = [
    {"flaky": "true"},
    {"commit_sha": "C0FFEE1"},
    {"commit_sha": COMMIT},
    {"label": ["team:web:1", "a:b"]},
    {"pull_request": "7"},
    {"pipeline": "github-7"},
    {"author": "Ada"},
    {"pipeline": "github-7", "pull_request": "7", "author": "Ada", "label": ["a:b"]},
    {"commit_sha": COMMIT, "flaky": "true", "label": ["a:b"]},
]
OF_RESULTS: Final[list[dict[str, Any]]] = [
    *(filters for filters in OF_RUNS if filters.keys().isdisjoint({"pull_request", "pipeline", "author"})),
    {"min_duration_ms": "900"},
    {"run_id": "matching", "q": "LOGIN card", "variant": ["os:linux", "shell:a:b"]},
    {"min_duration_ms": "900", "status": ["passed", "failed"], "flaky": "true"},
]


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
            run_event(f"{prefix}matching", [FLAKY, result("logs in")], **RUN, **scope),
            run_event(
                f"{prefix}different",
                [result("pays by card", variant=FLAKY["variant"]), result("fails", "failed")],
                commit_sha="beef" * 10,
                labels={"team": "web", "a": "b"},
                pull_request="70",
                pipeline="github-70",
                author="ada",
                **scope,
            ),
        )
    return other_key


def pairs(filters: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, value) for name, given in filters.items() for value in ([given] if isinstance(given, str) else given)
    ]


def run_ids(page: Any) -> set[str]:
    return {item["run_id"] for item in page["data"]}


async def exported(exports: Exports, filters: Any) -> set[tuple[str, str]]:
    rows = orjson.loads(await exports.content(await exports.run("json", filter=filters)))
    return {(row["run_id"], row["name"]) for row in rows}


async def test_filters_are_isolated_by_organization_and_project(exports: Exports) -> None:
    other_key = await fill(exports)
    bound_key = (await exports.api.make_key(project_id="blog")).key
    keys = {None: {"matching", "blog_matching"}, other_key: {"other_matching"}, bound_key: {"blog_matching"}}
    for path, filters in [
        *(("/v1/runs", filters) for filters in OF_RUNS),
        *(("/v1/results", filters) for filters in OF_RESULTS),
    ]:
        for key, expected in keys.items():
            found = run_ids(await exports.api.get(path, pairs(filters), key))
            assert found == (expected & {"matching"} if "run_id" in filters else expected), (path, filters)


async def test_export_has_the_results_of_the_list(exports: Exports) -> None:
    await fill(exports)
    expected = {("matching", "pays by card"), ("blog_matching", "pays by card")}
    assert await exported(exports, {"flaky": True}) == expected
    assert len(await exported(exports, {"flaky": False})) == 6
    assert await exported(exports, {"flaky": True, "status": "failed"}) == set()
    assert (
        await exported(exports, {"commit_sha": COMMIT[:7], "label": ["a:b", "team:web:1"], "min_duration_ms": 900})
        == expected
    )
    assert await exported(exports, {"label": 'a:"b'}) == set()
    of_run = {"run_id": "matching", "variant": "os:linux"}
    assert await exported(exports, of_run | {"q": "CARD"}) == {("matching", "pays by card")}
    assert await exported(exports, of_run | {"q": 'a{"b\\'}) == set()


async def test_failures_of_a_group_are_listed_and_exported(exports: Exports) -> None:
    other_key = await fill(exports)
    bound_key = (await exports.api.make_key("engineer", project_id="blog")).key
    [group] = (await exports.api.get("/v1/failures", {"project_id": "shop"}))["data"]
    chosen = {"fingerprint": group["id"]}
    listed = (await exports.api.get("/v1/results", chosen))["data"]
    assert [item["id"] for item in listed] == [group["example_result_id"]]
    assert (
        await exported(exports, chosen)
        == {("different", "fails")}
        == await exported(exports, chosen | {"run_id": "different"})
    )
    for filters in (
        {"status": "passed"},
        {"flaky": True},
        {"run_id": "matching"},
        {"label": "a:c"},
        {"project_id": "blog"},
    ):
        assert await exported(exports, chosen | filters) == set(), filters
        found = await exports.api.get(
            "/v1/results", chosen | {name: str(value).lower() for name, value in filters.items()}
        )
        assert found["data"] == [], filters
    assert run_ids(await exports.api.get("/v1/results", chosen, other_key)) == {"other_different"}
    assert run_ids(await exports.api.get("/v1/results", chosen, bound_key)) == set()


async def test_invalid_value_is_named(exports: Exports) -> None:
    for name, value in [
        ("flaky", "yes"), ("flaky", "1"), ("commit_sha", "c0ffee"), ("commit_sha", "main"), ("label", "team"),
        ("label", ":web"), ("min_duration_ms", "-1"), ("min_duration_ms", "x"), ("min_duration_ms", "9" * 18),
        ("pull_request", ""), ("status", "cancelledd"),
        ("sort", "suite"), ("sort", "name"), ("q", ""), ("variant", "os:linux"),
    ]:  # fmt: skip
        for path in (
            ("/v1/results",) if name in ("min_duration_ms", "sort", "q", "variant") else ("/v1/runs", "/v1/results")
        ):
            error = await exports.api.error(path, 400, {name: value})
            assert (error["code"], error["param"]) == ("invalid_request", name)
        error = await exports.request(status=400, filter={name: value})
        assert error["error"]["param"] in (f"filter.{name}", f"filter.{name}.0")


async def test_both_spellings_of_canceled_return_the_same(exports: Exports) -> None:
    await exports.api.store.ingest(
        run_event("run_1", [result("stops", "canceled"), result("logs in")], status="canceled")
    )
    other = "cancelled"
    for path in ("/v1/runs", "/v1/results"):
        page = await exports.api.get(path, {"status": other})
        assert page["data"] == (await exports.api.get(path, {"status": "canceled"}))["data"]
        assert run_ids(page) == {"run_1"}
    assert await exported(exports, {"status": other}) == {("run_1", "stops")}


async def test_sorted_list_and_export_have_the_same_order(exports: Exports) -> None:
    durations = [5, None, 900, 5, 1, 7, 8, 9, 10, 11]  # more than one range of a test export
    results = [
        result(f"case {number}", suite=f"suite {number % 2}", file=f"{number % 3}.py", duration_ms=duration)
        for number, duration in enumerate(durations)
    ]
    await exports.api.store.ingest(run_event("run_1", results), run_event("run_2"))
    by_duration = await exports.api.list_all("/v1/results", {"run_id": "run_1", "sort": "-duration_ms", "limit": "2"})
    assert [item["duration_ms"] for item in by_duration] == [900, 11, 10, 9, 8, 7, 5, 5, 1, None]
    by_suite = await exports.api.list_all("/v1/results", {"run_id": "run_1", "sort": "suite", "limit": "2"})
    assert [item["name"][-1] for item in by_suite] == [*"0639417285"]
    for sort, listed in (("-duration_ms", by_duration), ("suite", by_suite)):
        for format_ in ("json", "csv", "parquet"):
            job = await exports.run(
                format_, filter={"run_id": "run_1", "sort": sort}, columns=["id"], compression="none"
            )
            assert job["rows"] == len(durations)
            if format_ != "parquet":
                ids = re.findall("res_[0-9a-f]+", (await exports.content(job)).decode())
                assert ids == [item["id"] for item in listed], (sort, format_)


async def test_cursor_of_a_sorted_list_ends_with_a_change_of_the_run(exports: Exports) -> None:
    await exports.api.store.ingest(run_event("run_1", [result("a"), result("b")], final=False))
    query = [("run_id", "run_1"), ("sort", "suite"), ("limit", "1")]
    cursor = ("starting_after", (await exports.api.get("/v1/results", query))["next_cursor"])
    assert len((await exports.api.get("/v1/results", [*query, cursor]))["data"]) == 1
    await exports.api.store.ingest(run_event("run_1", [result("c")]))
    assert (await exports.api.error("/v1/results", 400, [*query, cursor]))["param"] == "starting_after"


async def test_large_run_is_not_sorted(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.results.queries.MAX_READ_ROWS", 1)
    await exports.api.store.ingest(run_event("run_1", [result("a"), result("b")]))
    filters = {"run_id": "run_1", "sort": "suite"}
    error = await exports.api.error("/v1/results", 400, filters)
    assert (error["param"], error["message"]) == ("sort", "sort: sorts at most 1 results, but the run has 2")
    assert (await exports.request(status=400, filter=filters))["error"]["param"] == "filter.sort"
    bound_key = (await exports.api.make_key("engineer", project_id="blog")).key
    assert (await exports.api.get("/v1/results", filters, bound_key))["data"] == []
    await exports.request(key=bound_key, filter=filters)
    assert (await exports.api.get("/v1/results", filters | {"run_id": "none"}))["data"] == []


async def test_filters_belong_to_the_cursor(exports: Exports) -> None:
    await fill(exports)
    first = await exports.api.get("/v1/results", [("limit", "1"), ("label", "a:b"), ("label", "team:web:1")])
    same = [("limit", "1"), ("label", "team:web:1"), ("label", "a:b"), ("starting_after", first["next_cursor"])]
    assert (await exports.api.get("/v1/results", same))["data"] != first["data"]
    assert (await exports.api.error("/v1/results", 400, same[2:]))["param"] == "starting_after"


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


async def test_equal_queries_of_several_keys_have_the_results_of_their_projects(exports: Exports) -> None:
    await fill(exports)
    bound_key = (await exports.api.make_key("viewer", project_id="blog")).key
    for _ in range(2):
        everything = await exports.api.get("/v1/results")
        of_blog = await exports.api.get("/v1/results", {}, bound_key)
        assert {item["project_id"] for item in of_blog["data"]} == {"blog"}
        assert {item["project_id"] for item in everything["data"]} > {"blog"}
