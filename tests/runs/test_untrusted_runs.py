"""Untrusted runs change no list, ranking, statistic, comparison, or export: every response stays the same."""

import itertools
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.cases.contract import CasesQuery
from service.cases.operations import find_other_variants, list_cases
from service.events.operations import number_events
from service.identity.keys.model import Caller
from service.runs.operations import suggest_filters
from tests.exporting import Exports, exporting
from tests.owners import set_owners
from tests.run_events import result, run_event

DOCUMENT = orjson.loads((Path(__file__).parents[2] / "docs/openapi.json").read_bytes())
# They return bytes, or need more than a database. None of them selects runs.
EXCLUDED = {
    "list_exports", "stream_events", "download_artifact", "download_export", "get_webhook_recovery",
    "list_webhook_deliveries", "get_member", "get_publisher", "list_token_exchanges",
}  # fmt: skip
# Of each query parameter: values that match trusted and untrusted runs, and then values that only untrusted ones have.
VALUES: Mapping[str, tuple[str, ...]] = {
    "limit": ("1",), "starting_after": (), "wait": ("0",), "status": ("failed", "passed", "skipped"),
    "from": ("2026-05-01",), "to": ("2026-05-20T12:03:00Z",), "project_id": ("shop",),
    "environment": ("staging", "evil"), "branch": ("main", "evil"), "commit_sha": ("c0ffee1", "badc0de"),
    "pull_request": ("7", "66"),
    "pipeline": ("github-1", "evil"), "author": ("Ada", "Mallory"), "label": ("team:web", "team:evil"),
    "flaky": ("true", "false"), "run_id": ("run_4", "run_1"), "case": ("{case}", "{hidden_case}"),
    "case_id": ("C-1", "C-9"), "suite": ("auth.login", "evil"), "variant": ("os:linux", "os:evil"),
    "q": ("logs", "hidden"), "min_duration_ms": ("5",), "fingerprint": ("{failure}", "{hidden_failure}"),
    "state": ("healthy", "flaky", "broken"), "days": ("30",),
    "sort": ("suite", "failures", "flaky", "duration"), "receipt_id": ("{receipt}",), "event_id": ("event run_1",),
    "runs": ("2",), "interval": ("hour",), "group_by": ("branch",), "type": ("run.completed",), "active": ("true",),
    "after": ("{event}",), "gate": ("release",), "decision": ("passed",), "change": ("new_failure",),
    "baseline": ("branch:main", "branch:evil", "run:run_1"), "trusted": ("true",), "owner": ("team",),
}  # fmt: skip
ALWAYS = {
    "list_cases": {"project_id": "shop"},
    "list_failures": {"project_id": "shop"},
    "list_owners": {"project_id": "shop"},
    "get_stats": {"from": "2026-05-20", "to": "2026-05-21"},
    "get_costs": {"project_id": "shop", "from": "2026-05-20", "to": "2026-05-21"},
}
FURTHER = {
    "list_cases": [{"sort": "failures", "branch": "main"}],
    "list_failures": [{"run_id": "untrusted:4"}],
    "list_results": [{"run_id": "untrusted:1"}, {"run_id": "untrusted:1", "sort": "suite"}],
}
PAIRED = ("status", "project_id", "case")  # they choose the statement
# Operations whose responses change when the untrusted runs are promoted, so that the comparison isn't vacuous.
SENSITIVE = {
    "list_results", "list_runs", "compare_run", "list_receipts", "list_cases", "get_case", "list_case_history",
    "get_stats", "get_costs", "list_projects", "get_project", "list_failures", "get_failure", "console",
    "backtest_project",
}  # fmt: skip


@pytest.fixture
async def exports(database_url: str, tmp_path: Path) -> AsyncIterator[Exports]:
    async with exporting(database_url, (tmp_path / "files").as_uri()) as opened:
        yield opened


def failing(name: str, message: str = "boom") -> Any:
    return result(name, "failed", failure={"message": message})


def flaky(name: str) -> Any:
    return result(name, attempts=[{"status": "failed", "failure": {"message": "slow"}}, {"status": "passed"}])


def event(run_id: str, at: str, results: list[Any], **fields: Any) -> Any:
    """Return the event of a run that claims everything that the trusted runs have."""
    claimed = {
        "branch": "main", "environment": "staging", "commit_sha": "c0ffee1", "pull_request": "7", "author": "Ada",
        "pipeline": "github-1", "labels": {"team": "web"}, "variant": {"os": "linux"},
    }  # fmt: skip
    return run_event(run_id, results, completed_at=f"2026-05-20T{at}Z", id=f"event {run_id}", **{**claimed, **fields})


async def store_trusted(exports: Exports) -> None:
    identified, skipped = result(case_id="C-1"), result("exports", "skipped")
    runs = [
        [identified, failing("pays"), skipped, flaky("retries"), result("pays", variant={"os": "mac"})],
        [identified, result("pays"), skipped],
        [identified, failing("pays"), result("ships")],
        [identified, failing("pays"), flaky("retries")],
    ]
    for number, results in enumerate(runs, 1):
        await exports.api.store.ingest(event(f"run_{number}", f"12:0{number}:00", results))
    await set_owners(exports.api.store.pool, {"c.name IN ('pays', 'exports')": ["team"]})


async def store_untrusted(exports: Exports) -> None:
    """Store untrusted runs before, between, and after the trusted ones. They even have the same branch."""
    hidden = result("hidden", suite="evil", case_id="C-9", duration_ms=9_999, variant={"os": "evil"})
    both = [
        hidden, failing("pays"), failing("logs out", "hidden failure"), flaky("ships"), result("exports", "skipped"),
        result("pays", variant={"os": "evil"}), result(case_id="C-1", variant={"os": "evil"}),
        result("pays", variant={"os": "mac"}),
    ]  # fmt: skip
    evil = {
        "branch": "evil", "environment": "evil", "commit_sha": "badc0de", "pull_request": "66", "author": "Mallory",
        "pipeline": "evil", "labels": {"team": "evil"},
    }  # fmt: skip
    await exports.api.store.ingest(
        event("fork:1", "11:59:00", both),
        event("fork:2", "12:03:30", [failing("pays"), result(case_id="C-1", duration_ms=7_777)]),
        event("fork:3", "12:03:40", [failing("ships")], **evil),
        event("fork:4", "12:09:00", both),
        event("fork:5", "12:09:10", [result("pays", "error", failure={"message": "boom"})]),
    )
    await exports.api.store.pool.execute("""
        UPDATE runs SET trusted = false, run_id = 'untrusted:' || split_part(run_id, ':', 2) WHERE run_id LIKE 'fork:%';
        UPDATE receipts SET run_id = 'untrusted:' || split_part(run_id, ':', 2) WHERE run_id LIKE 'fork:%';
        UPDATE cases SET trusted = false WHERE name IN ('hidden', 'logs out') OR variant = '{"os": "evil"}';
        DELETE FROM events WHERE run_id LIKE 'fork:%';
    """)


async def find_ids(exports: Exports) -> dict[str, str]:
    """Return the ID of an object of each kind."""
    api = exports.api
    [newest, *_] = await api.list_all("/v1/results", {"run_id": "run_4", "status": "failed"})
    receipt = await api.get("/v1/receipts", {"run_id": "run_4"})
    events = await api.get("/v1/events")
    return {
        "result": newest["id"], "case": newest["case"], "failure": newest["fingerprint"],
        "receipt": receipt["data"][0]["id"], "event": events["data"][-1]["id"],
    }  # fmt: skip


async def create_objects(exports: Exports) -> dict[str, str]:
    """Create an object of each other kind, and return their IDs."""
    api = exports.api
    bodies = {
        "quarantine": ("/v1/quarantines", {"project_id": "shop", "name": "sometimes*", "reason": "outage"}),
        "webhook": ("/v1/webhooks", {"url": "https://ci.example/hook"}),
        "decision": ("/v1/runs/run_4/decisions", {"policy": {"max_failures": 9}, "record": True}),
    }
    await api.send("PUT", "/v1/gates/release", json={"policy": {"max_failures": 9}})
    split = {"project_id": "shop", "pipeline": "github-1", "total": 1, "items": ["pays.py"]}
    await api.send("PUT", "/v1/splits/unit", json=split)
    created = {name: await (await api.send("POST", path, json=body)).json() for name, (path, body) in bodies.items()}
    return {name: body["id"] for name, body in created.items()} | {"export": (await exports.run("csv"))["id"]}


def all_reads(ids: Mapping[str, str], *, in_pairs: bool) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield the operation, path, and parameters of requests of every operation that reads."""
    of_segment = {
        "results": "result", "cases": "case", "failures": "failure", "receipts": "receipt", "export": "export",
        "quarantines": "quarantine", "webhooks": "webhook", "decisions": "decision",
    }  # fmt: skip
    fixed = {"runs": "run_4", "projects": "shop", "gates": "release", "splits": "unit"}
    for template, methods in DOCUMENT["paths"].items():
        operation = methods.get("get")
        if not template.startswith("/v1/") or operation is None or operation["operationId"] in EXCLUDED:
            continue
        segments = template.split("/")
        for index, segment in enumerate(segments):
            if segment.startswith("{"):
                owner = segments[index - 1]
                segments[index] = fixed[owner] if owner in fixed else ids[of_segment[owner]]
        name = operation["operationId"]
        names = [parameter["name"] for parameter in map(resolve, operation["parameters"]) if parameter["in"] == "query"]
        for query in (*queries(names, in_pairs=in_pairs), *FURTHER.get(name, ())):
            yield name, "/".join(segments), ALWAYS.get(name, {}) | {k: v.format(**ids) for k, v in query.items()}


def resolve(parameter: Any) -> Any:
    name = parameter.get("$ref", "").rpartition("/")[2]
    return DOCUMENT["components"]["parameters"][name] if name else parameter


def queries(names: list[str], *, in_pairs: bool) -> Iterator[dict[str, str]]:
    """Yield no parameter, each value of each parameter, and the pairs with a parameter that chooses the statement."""
    yield {}
    for name in names:
        yield from ({name: value} for value in VALUES[name])
    for one, other in itertools.product(set(names).intersection(PAIRED), names):
        if in_pairs and one != other and VALUES[other]:
            yield {one: VALUES[one][0], other: VALUES[other][0]}


async def read_all(exports: Exports, ids: Mapping[str, str], *, in_pairs: bool = True) -> dict[tuple[str, str], str]:
    """Return the response to each request, by operation and request."""
    responses = {}
    for name, path, query in all_reads(ids, in_pairs=in_pairs):
        response = await exports.api.send("GET", path, query)
        assert response.status < 500
        body = await response.json()
        body.pop("request_id", None)
        if name == "list_keys":
            body["data"] = [key | {"last_used_at": None} for key in body["data"]]
        responses[name, f"{path} {query}"] = f"{response.status} {orjson.dumps(body).decode()}"
    return responses | await read_for_console(exports)


async def read_for_console(exports: Exports) -> dict[tuple[str, str], str]:
    """Return what only pages of the console show."""
    pool, caller = exports.api.resources.list_pool, Caller(exports.api.org_id, "key_1", "viewer", "shop")
    filters = [await suggest_filters(pool, replace(caller, project_id=project), project) for project in ("shop", None)]
    cases = (await list_cases(pool, caller, CasesQuery())).items
    variants = [await find_other_variants(pool, caller, case, 50) for case in cases if case.name in ("pays", "logs in")]
    return {("console", "filters"): repr(filters), ("console", "variants"): repr(variants)}


async def read_exports(exports: Exports, position: str) -> dict[str, bytes]:
    """Return the content of exports."""
    requests: dict[str, dict[str, Any]] = {
        "results": {}, "runs": {"content": "runs"}, "of_case": {"filter": {"case_id": "C-9"}},
        "of_branch": {"filter": {"branch": "main", "status": "failed"}},
        "changed": {"content": "runs", "updated_since": position},
    }  # fmt: skip
    return {name: await exports.content(await exports.run("ndjson", **request)) for name, request in requests.items()}


async def test_untrusted_runs_change_no_read(exports: Exports) -> None:
    api = exports.api
    await store_trusted(exports)
    await number_events(api.store.pool)
    ids = {**await find_ids(exports), **await create_objects(exports)}
    await number_events(api.store.pool)
    position = (await exports.run("ndjson"))["position"]
    await store_untrusted(exports)
    hidden = await api.list_all("/v1/results", {"trusted": "false", "branch": "main", "status": "failed"})
    assert {item["run_id"] for item in hidden} == {"untrusted:1", "untrusted:2", "untrusted:4"}
    names = {item["name"]: item for item in hidden}
    ids |= {"hidden_case": names["logs out"]["case"], "hidden_failure": names["logs out"]["fingerprint"]}
    await check_named_objects(exports, names["logs out"])
    with_untrusted = await read_all(exports, ids), await read_exports(exports, position)
    await api.store.pool.execute("""
        UPDATE runs SET trusted = true;
        UPDATE cases SET trusted = true;
        UPDATE receipts SET upload = '{"is_promoted": true}' WHERE run_id LIKE 'untrusted:%';
    """)
    promoted, promoted_exports = await read_all(exports, ids, in_pairs=False), await read_exports(exports, position)
    await delete_untrusted(exports)
    without = await read_all(exports, ids), await read_exports(exports, position)
    changed = {request: response for request, response in with_untrusted[0].items() if response != without[0][request]}
    assert changed == {}
    assert with_untrusted[1] == without[1]
    assert {name for name, request in promoted if promoted[name, request] != without[0][name, request]} == SENSITIVE
    assert {name for name, content in promoted_exports.items() if content != without[1][name]} == {
        "results", "runs", "of_case", "of_branch",
    }  # fmt: skip


async def check_named_objects(exports: Exports, hidden: Any) -> None:
    """Requests that name an untrusted object show it, but no gate decides about it, and nothing is compared with it."""
    api = exports.api
    for path in (f"results/{hidden['id']}", f"cases/{hidden['case']}", "runs/untrusted:4"):
        assert (await api.get(f"/v1/{path}"))["trusted"] is False, path
    comparison = await api.get("/v1/runs/untrusted:4/comparison")
    assert comparison["baseline"]["run_id"] == "run_4"
    error = await api.error("/v1/runs/run_4/comparison", 400, {"baseline": "run:untrusted:1"})
    assert error["message"] == "baseline: run 'untrusted:1' isn't trusted; promote it first"
    for body in ({"gate": "release"}, {"policy": {"max_failures": 9}}, {"policy": {"max_failures": 9}, "record": True}):
        response = await api.send("POST", "/v1/runs/untrusted:4/decisions", json=body)
        assert response.status == 409, body
        assert "promote it first" in await response.text()


async def delete_untrusted(exports: Exports) -> None:
    """Delete everything of the untrusted runs, so that the reads show what the trusted runs lead to."""
    await exports.api.store.pool.execute("""
        CREATE TEMPORARY TABLE gone AS SELECT run_key FROM runs WHERE run_id LIKE 'untrusted:%';
        DELETE FROM results WHERE org_id = 1 AND run_key IN (SELECT run_key FROM gone);
        DELETE FROM result_details WHERE org_id = 1 AND run_key IN (SELECT run_key FROM gone);
        DELETE FROM receipts WHERE run_id LIKE 'untrusted:%';
        DELETE FROM runs WHERE run_id LIKE 'untrusted:%';
        DELETE FROM cases WHERE org_id = 1 AND NOT EXISTS (
            SELECT FROM results WHERE results.org_id = 1 AND results.case_key = cases.case_key);
    """)


async def test_untrusted_runs_use_no_scan_budget(exports: Exports) -> None:
    """Otherwise, newer runs of forks, or hidden cases, could leave the first page of a list of others empty."""
    api = exports.api
    await store_trusted(exports)
    [newest, *_] = await api.list_all("/v1/results", {"run_id": "run_4", "status": "failed"})
    queries: list[tuple[str, dict[str, str]]] = [
        ("runs", {}), ("runs", {"project_id": "shop"}), ("runs", {"branch": "main"}),
        ("runs", {"pipeline": "github-1"}), ("runs", {"commit_sha": "c0ffee1"}),
        ("results", {"environment": "staging"}), ("results", {"case_id": "C-1"}),
        ("results", {"suite": "auth.login", "run_id": "run_4"}), ("results", {"commit_sha": "c0ffee1"}),
        ("results", {"case": newest["case"], "status": "failed"}), ("results", {"fingerprint": newest["fingerprint"]}),
    ]  # fmt: skip
    before = [(await api.get(f"/v1/{name}", query))["data"] for name, query in queries]
    assert all(before)
    await api.store.pool.execute("""
        CREATE TEMPORARY TABLE fork AS
        SELECT n, run_key, (left(run_key::text, 24) || 'ffff' || lpad(to_hex(n), 8, '0'))::uuid AS fork_key
        FROM runs CROSS JOIN generate_series(1, 1001) n WHERE run_id = 'run_4';
        INSERT INTO runs SELECT (jsonb_populate_record(r, jsonb_build_object(
            'run_key', fork_key, 'run_id', 'untrusted:' || n, 'commit_sha', 'c0ffee1' || n, 'trusted', false))).*
        FROM runs r JOIN fork USING (run_key);
        INSERT INTO results SELECT (jsonb_populate_record(r, jsonb_build_object('run_key', fork_key))).*
        FROM results r JOIN fork USING (run_key);
        INSERT INTO result_details SELECT (jsonb_populate_record(d, jsonb_build_object('run_key', fork_key))).*
        FROM result_details d JOIN fork USING (run_key);
        INSERT INTO cases (org_id, case_key, project_id, case_id, suite, name, occurrence, variant, trusted)
        SELECT org_id, 9223372036854775807 - n, project_id, case_id, suite, name, occurrence, '{"os": "evil"}', false
        FROM cases CROSS JOIN generate_series(1, 200) n WHERE case_id = 'C-1';
    """)
    after = [(await api.get(f"/v1/{name}", query))["data"] for name, query in queries]
    assert [query for query, old, new in zip(queries, before, after, strict=True) if old != new] == []


async def test_exports_name_a_deleted_run_whose_id_a_fork_has_used_again(exports: Exports) -> None:
    api = exports.api
    await store_trusted(exports)
    await number_events(api.store.pool)
    position = (await exports.run("ndjson"))["position"]
    assert (await api.send("DELETE", "/v1/runs/run_1")).status == 204
    await api.store.ingest(event("fork:1", "12:09:00", [result("pays")]))
    await api.store.pool.execute("""
        UPDATE runs SET trusted = false, run_id = 'run_1' WHERE run_id = 'fork:1';
        DELETE FROM events WHERE run_id = 'fork:1';
    """)
    changed = await exports.content(await exports.run("ndjson", content="runs", updated_since=position))
    assert [(run["run_id"], run["deleted"]) for run in map(orjson.loads, changed.splitlines())] == [("run_1", True)]
