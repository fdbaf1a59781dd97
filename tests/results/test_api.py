"""Results over HTTP: fields, a single result, artifacts, and invalid requests."""

from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from yarl import URL

from service.version import find_build
from tests.run_events import result, run_event
from tests.served import Api

FAILED = result(
    "pays", "failed", suite="shop", case_id="tc_pay", file="tests/pay.py", started_at="2026-05-20T11:59:00Z",
    logs_ref="s3://logs/2.log",
    failure={"type": "AssertionError", "message": "\n expected 200\ngot 503", "details": "…"},
    attempts=[{"status": "failed", "duration_ms": 15, "failure": {"message": "first"}},
              {"status": "failed", "duration_ms": 16}],
    artifacts=[{"kind": "screenshot", "name": "pay.png", "content_type": "image/png", "size": 4, "sha256": "ab" * 32,
                "uri": "s3://shots/pay.png"}],
)  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stored(shared_api: Api) -> Api:
    await shared_api.store.ingest(
        run_event("run_1", [result("logs in"), FAILED], environment="staging", branch="main", commit_sha="c0ffee",
                  started_at="2026-05-20T11:58:00Z", labels={"team": "web"})
    )  # fmt: skip
    return shared_api


async def by_name(api: Api, name: str) -> Any:
    return next(item for item in (await api.get("/v1/results"))["data"] if item["name"] == name)


async def test_run_id_can_contain_any_printable_character(api: Api) -> None:
    for run_id in ("release/7", "build {linux}", "a?b#c%2F", "x/../y"):
        await api.store.ingest(run_event(run_id))
        response = await api.http.get(
            URL(f"/v1/runs/{quote(run_id, safe='')}", encoded=True), headers={"Authorization": f"Bearer {api.key}"}
        )
        assert (await response.json()).get("run_id") == run_id


async def test_list_item_has_every_field(stored: Api) -> None:
    item = await by_name(stored, "pays")
    assert item == {
        "id": item["id"], "run_id": "run_1", "project_id": "shop", "environment": "staging", "branch": "main",
        "commit_sha": "c0ffee", "case": item["case"], "case_id": "tc_pay", "variant": {}, "suite": "shop",
        "name": "pays",
        "file": "tests/pay.py", "status": "failed", "flaky": False, "attempts": 2, "duration_ms": 812,
        "started_at": "2026-05-20T11:59:00.000Z", "completed_at": "2026-05-20T12:00:00.000Z",
        "failure_summary": "expected 200", "fingerprint": item["fingerprint"], "trusted": True,
    }  # fmt: skip
    assert (await stored.get("/v1/results", {"fingerprint": item["fingerprint"]}))["data"] == [item]
    passed = await by_name(stored, "logs in")
    assert (passed["failure_summary"], passed["fingerprint"]) == (None, None)


async def test_single_result_contains_its_attempts_and_run(stored: Api) -> None:
    listed = await by_name(stored, "pays")
    full = await stored.get(f"/v1/results/{listed['id']}")
    assert {name: full[name] for name in listed} == listed
    assert full["logs_ref"] == "s3://logs/2.log"
    assert full["failure"] == {"type": "AssertionError", "message": "\n expected 200\ngot 503", "details": "…"}
    assert [(a["attempt"], a["status"], a["duration_ms"]) for a in full["attempt_details"]] == [
        (1, "failed", 15),
        (2, "failed", 16),
    ]
    assert full["attempt_details"][0]["failure"]["message"] == "first"
    assert full["run"]["counts"] == {"passed": 1, "failed": 1, "error": 0, "skipped": 0, "canceled": 0, "flaky": 0}
    assert full["run"]["labels"] == {"team": "web"}
    assert full["artifacts_url"].endswith(f"/v1/results/{listed['id']}/artifacts")


async def test_passed_result_without_details_has_one_attempt(stored: Api) -> None:
    listed = await by_name(stored, "logs in")
    full = await stored.get(f"/v1/results/{listed['id']}")
    assert full["failure"] is None
    assert full["attempt_details"] == [
        {
            "attempt": 1,
            "job_attempt": None,
            "status": "passed",
            "duration_ms": 812,
            "started_at": None,
            "failure": None,
            "logs_ref": None,
        }
    ]


async def test_unknown_duration_and_start_are_null(api: Api) -> None:
    started = {"started_at": "2024-10-31T12:00:00Z"}  # doesn't fit into 32 bits of milliseconds
    unknown: Any = {"duration_ms": None, **started, "attempts": [{"status": "failed"}, {"status": "failed", **started}]}
    await api.store.ingest(run_event(results=[result("passed", **started), result("failed", "failed", **unknown)]))
    for name, duration_ms in [("passed", 812), ("failed", None)]:
        listed = await by_name(api, name)
        full = await api.get(f"/v1/results/{listed['id']}")
        for shown in (listed, full, full["attempt_details"][-1]):
            assert (shown["duration_ms"], shown["started_at"]) == (duration_ms, None)
    (case,) = [
        item for item in (await api.get("/v1/cases", {"project_id": "shop"}))["data"] if item["name"] == "failed"
    ]
    assert (case["failure_rate"], case["mean_duration_ms"], case["p95_duration_ms"]) == (1.0, None, None)


async def test_artifacts_are_listed_with_their_uri(stored: Api) -> None:
    listed = await by_name(stored, "pays")
    (artifact,) = (await stored.get(f"/v1/results/{listed['id']}/artifacts"))["data"]
    assert artifact["id"].startswith("art_")
    assert (artifact["kind"], artifact["name"], artifact["size"]) == ("screenshot", "pay.png", 4)
    assert (artifact["uri"], artifact["url"]) == ("s3://shots/pay.png", None)
    other = await by_name(stored, "logs in")
    assert (await stored.get(f"/v1/results/{other['id']}/artifacts"))["data"] == []


async def test_artifacts_are_paginated(api: Api) -> None:
    artifacts = [{"name": f"{number}.log", "uri": "s3://x"} for number in range(5)]
    await api.store.ingest(run_event("run_1", [result(artifacts=artifacts)]))
    item = (await api.get("/v1/results"))["data"][0]
    found = await api.list_all(f"/v1/results/{item['id']}/artifacts", {"limit": "2"})
    assert sorted(artifact["name"] for artifact in found) == [artifact["name"] for artifact in artifacts]


async def test_original_operations_work_without_the_prefix(stored: Api) -> None:
    listed = (await stored.get("/results"))["data"][0]
    await stored.get(f"/results/{listed['id']}")
    await stored.get(f"/results/{listed['id']}/artifacts")


async def test_run_contains_its_counts_and_completeness(stored: Api) -> None:
    run = await stored.get("/v1/runs/run_1")
    assert (run["status"], run["complete"], run["revision"]) == ("failed", True, 1)
    assert (run["counts"]["passed"], run["counts"]["failed"]) == (1, 1)
    assert run["duration_ms"] == 120_000
    assert run.pop("parts") == [{"part": None, "variant": {}, "shard": None, "attempt": None}]
    assert (await stored.get("/v1/runs"))["data"] == [run]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"), ("limit", "1001"), ("limit", "x"), ("limit", ""), ("status", "green"), ("from", "yesterday"),
        ("from", "2026-02-30"), ("to", "1747742400"), ("run_id", ""), ("run_id", "a\0b"), ("branch", "b" * 401),
        ("environment", "e" * 201), ("case", "tc_login"), ("suite", "no run"), ("starting_after", "AAAA"),
        ("starting_after", "a b"), ("page", "2"), ("case_id", "x" * 3000),
    ],
)  # fmt: skip
async def test_invalid_parameter_is_named(shared_api: Api, name: str, value: str) -> None:
    error = await shared_api.error("/v1/results", 400, {name: value})
    assert (error["code"], error["param"]) == ("invalid_request", name)


async def test_repeated_parameter_returns_400(api: Api) -> None:
    error = await api.error("/v1/results", 400, [("limit", "1"), ("limit", "2")])
    assert error["param"] == "limit"


async def test_cursor_works_only_with_its_list(api: Api) -> None:
    await api.store.ingest(run_event("run_1", [result(str(number)) for number in range(4)]))
    cursor = (await api.get("/v1/results", {"limit": "1"}))["next_cursor"]
    _, other_key = await api.make_organization("other")
    await api.get("/v1/results", {"limit": "3", "starting_after": cursor})
    for params, key in [({"status": "passed"}, None), ({}, other_key)]:
        assert (await api.error("/v1/results", 400, params | {"starting_after": cursor}, key))[
            "param"
        ] == "starting_after"
    for broken in (cursor[:-1], cursor + "A", "B" + cursor[1:], cursor[:10] + "_" + cursor[11:]):
        await api.error("/v1/results", 400, {"starting_after": broken})
    await api.error("/v1/runs", 400, {"starting_after": cursor})


@pytest.mark.parametrize("id_", ["res_1", "res_" + "0" * 47, "res_" + "G" * 48, "case_" + "0" * 16, "%00", "a" * 5000])
async def test_malformed_id_returns_404(shared_api: Api, id_: str) -> None:
    for suffix in ("", "/artifacts"):
        assert (await shared_api.error(f"/v1/results/{id_}{suffix}", 404))["code"] == "not_found"


async def test_unusual_run_id_returns_404(api: Api) -> None:
    for run_id in ("%00", "nope", "x" * 3000, "%F0%9F%9A%80", "%ff"):
        await api.error(f"/v1/runs/{run_id}", 404)


async def test_errors_of_the_router_have_the_common_body(api: Api) -> None:
    assert (await api.error("/v1/nothing", 404))["code"] == "not_found"
    response = await api.send("PUT", "/v1/results")
    assert response.status == 405
    assert response.headers["Allow"] == "GET,HEAD"
    body = await response.json()
    assert body["error"]["code"] == "method_not_allowed"
    assert body["request_id"] == response.headers["X-Request-Id"]


async def test_well_formed_request_id_is_repeated(api: Api) -> None:
    response = await api.send("GET", "/healthz", X_Request_Id="ci-42")
    assert response.headers["X-Request-Id"] == "ci-42"
    response = await api.send("GET", "/healthz", X_Request_Id="has spaces in it")
    assert response.headers["X-Request-Id"] != "has spaces in it"


async def test_head_returns_no_body(stored: Api) -> None:
    response = await stored.send("HEAD", "/v1/results")
    assert response.status == 200
    assert await response.read() == b""


async def test_readiness_contains_the_state_of_each_component(api: Api) -> None:
    assert await api.get("/healthz", key="") == {"status": "ok", **find_build()}
    ready = await api.get("/readyz", key="")
    assert ready["parts"]["database"]["status"] == "up"
    assert ready["parts"]["storage"]["status"] == "up"
    assert ready["parts"]["consumers"] == {"status": "down", "workers": {}}
    await api.store.pool.execute("INSERT INTO heartbeats (worker_id, role) VALUES ('h:1:runs', 'runs')")
    assert (await api.get("/readyz", key=""))["parts"]["consumers"] == {"status": "up", "workers": {"runs": 1}}


@pytest.mark.parametrize("time_", ["0001-01-01", "0060-02-10T07:25:09+23:19", "1969-12-31", "9999-12-31T23:59:59Z"])
async def test_distant_dates_are_accepted(stored: Api, time_: str) -> None:
    for path in ("/v1/results", "/v1/runs"):
        before = await stored.get(path, {"to": time_})
        since = await stored.get(path, {"from": time_})
        assert bool(before["data"]) != bool(since["data"])


FAILING_FIRST = [{"status": "failed", "failure": {"message": "no"}}, {"status": "passed"}]


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"status": "failed", "failure": {"message": "no"}}, "b.py"),
        ({"status": "error"}, "b.py"),
        ({"attempts": FAILING_FIRST}, "b.py"),  # flaky
        ({"status": "failed", "file": None}, "a.py"),
        ({"status": "failed", "file": "b\u202e.py"}, "b\ufffd.py"),
        ({"status": "passed"}, "a.py"),
        ({"status": "skipped"}, "a.py"),
    ],
)
async def test_failing_result_shows_the_file_of_its_own_report(api: Api, fields: dict[str, Any], shown: str) -> None:
    """Another branch has moved the file, so that the case and the results of other runs keep the earlier one."""
    await api.store.ingest(run_event("main", [result("moved", "failed", file="a.py")], branch="main"))
    await api.store.ingest(run_event("pr", [result("moved", **{"file": "b.py", **fields})], branch="moves"))
    for run_id, file in (("pr", shown), ("main", "a.py")):
        [item] = (await api.get("/v1/results", {"run_id": run_id}))["data"]
        assert (item["file"], (await api.get(f"/v1/results/{item['id']}"))["file"]) == (file, file)
    compared = (await api.get("/v1/runs/pr/comparison"))["data"]
    assert [item["file"] for item in compared] == [shown] * len(compared)
    assert (await api.get(f"/v1/cases/{item['case']}"))["file"] == "a.py"


async def test_stored_failure_keeps_its_file_when_its_case_is_moved(api: Api) -> None:
    for number, file in enumerate(("a.py", "b.py")):
        await api.store.ingest(run_event(f"run_{number}", [result("moved", "failed", file=file)], branch="main"))
    items = {item["run_id"]: item["file"] for item in (await api.get("/v1/results"))["data"]}
    assert items == {"run_0": "a.py", "run_1": "b.py"}


async def test_failure_keeps_its_file_when_further_parts_report_its_case(api: Api) -> None:
    failed = result("moved", "failed", file="b.py")
    await api.store.ingest(run_event("main", [result("moved", file="a.py")], branch="main"))
    for shard, outcome in ((1, failed), (2, result("moved")), (3, result("moved"))):
        await api.store.ingest(run_event("pr", [outcome], branch="moves", shard=shard, expected_shards=3))
    assert [item["file"] for item in (await api.get("/v1/results", {"run_id": "pr"}))["data"]] == ["b.py"]
