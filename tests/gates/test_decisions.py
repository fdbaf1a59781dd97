"""Decisions: immutable results of applying a gate to a run, dry runs, and waivers."""

import asyncio
from typing import Any

import asyncpg
import orjson
import pydantic
import pytest

from service.comparison import compare_runs
from service.domain.ids import new_id
from service.gates import store as gates_store
from service.gates.contract import Decision
from service.quarantines import find_excused
from tests.run_events import result, run_event
from tests.served import Api

MODEL = pydantic.TypeAdapter(Decision)
FAILED = result("pays", "failed")
STRICT = {"max_failures": 0}


def run(run_id: str, hour: int, *results: Any, **fields: Any) -> Any:
    return run_event(
        run_id, list(results) or None, **{"branch": "main", "completed_at": f"2026-05-01T{hour:02}:00:00Z"} | fields
    )


async def put_gate(api: Api, policy: Any, name: str = "release") -> None:
    assert (await api.send("PUT", f"/v1/gates/{name}", json={"policy": policy})).status in (200, 201)


async def post(api: Api, body: Any, run_id: str = "run_1", key: str | None = None, **params: str) -> tuple[int, Any]:
    response = await api.send("POST", f"/v1/runs/{run_id}/decisions", params, key, body)
    content = await response.json()
    if response.status in (200, 201):
        MODEL.validate_python(content)
    return response.status, content


async def decide(api: Api, run_id: str = "run_1", gate: str = "release") -> tuple[int, Any]:
    return await post(api, {"gate": gate}, run_id)


async def waive(api: Api, id_: str, reason: Any = "known outage", key: str | None = None) -> tuple[int, Any]:
    response = await api.send("POST", f"/v1/decisions/{id_}/waiver", key=key, json={"reason": reason})
    return response.status, await response.json()


async def decision_events(api: Api) -> list[tuple[str, Any]]:
    rows = await api.store.pool.fetch(
        "SELECT type, project_id, run_id, data FROM events WHERE type LIKE '%gate%' ORDER BY created_at, event_id"
    )
    assert all((row["project_id"], row["run_id"]) == ("shop", "run_1") for row in rows)
    return [(row["type"], orjson.loads(row["data"])) for row in rows]


async def test_blocked_decision_is_stored_once_with_its_events(api: Api) -> None:
    await api.store.ingest(run("main_1", 1, FAILED), run("run_1", 2, FAILED, result("logs in"), result("new", "error")))
    await put_gate(api, {"max_failures": 2, "max_new_failures": 0, "min_pass_rate": 0.3})
    status, decision = await decide(api)
    assert status == 201
    assert decision == {
        "id": decision["id"], "organization_id": "acme", "run_id": "run_1", "revision": 1, "gate": "release",
        "gate_version": 1,
        "policy": {
            "min_results": 1, "max_failures": 2, "max_new_failures": 0, "min_pass_rate": 0.3, "max_missing_parts": 0
        },
        "baseline_run_id": "main_1", "decision": "blocked",
        "rules": [
            {"rule": "run_status", "limit": None, "value": "error", "passed": True},
            {"rule": "max_missing_parts", "limit": 0, "value": 0, "passed": True},
            {"rule": "min_results", "limit": 1, "value": 3, "passed": True},
            {"rule": "max_failures", "limit": 2, "value": 2, "passed": True},
            {"rule": "max_new_failures", "limit": 0, "value": 1, "passed": False},
            {"rule": "min_pass_rate", "limit": 0.3, "value": 1 / 3, "passed": True},
        ],
        "failures": {"new": 1, "known": 1, "flaky": 0, "quarantined": 0}, "missing_parts": [], "missing_cases": 0,
        "missing_cases_sample": [], "missing_items": None, "missing_items_sample": [],
        "truncated": False, "waiver": None, "created_by": decision["created_by"],
        "created_by_name": "test", "created_at": decision["created_at"],
    }  # fmt: skip
    assert await decide(api) == (200, decision)
    assert await api.get(f"/v1/decisions/{decision['id']}") == decision
    assert await decision_events(api) == [("gate.decided", decision), ("release.gate_blocked", decision)]


async def test_each_run_of_the_evidence_is_an_input(api: Api) -> None:
    """A correction of the oldest run of the window makes a second episode, and so a flaky failure."""
    main = [
        run(f"main_{number}", 0, result("pays", "failed" if number == 20 else "passed"),
            completed_at=f"2026-04-01T00:{number:02}:00Z")
        for number in range(1, 41)
    ]  # fmt: skip
    await api.store.ingest(*main, run("run_1", 2, FAILED))
    await put_gate(api, {"max_new_failures": 0})
    status, first = await decide(api)
    assert (status, first["failures"]["new"]) == (201, 1)
    await api.store.ingest(run("main_1", 0, FAILED, time="2026-05-20T13:00:00Z", completed_at="2026-04-01T00:01:00Z"))
    status, second = await decide(api)
    assert (status, second["failures"]["flaky"], second["decision"]) == (201, 1, "passed")
    assert second["baseline_run_id"] == first["baseline_run_id"] == "main_40"


async def test_first_run_of_a_project_has_no_baseline_and_all_of_its_failures_are_new(api: Api) -> None:
    await api.store.ingest(run("run_1", 2, FAILED, result("logs in", "error")))
    decision = (await post(api, {"policy": {"max_new_failures": 1}}))[1]
    assert (decision["decision"], decision["baseline_run_id"]) == ("blocked", None)
    assert decision["failures"] == {"new": 2, "known": 0, "flaky": 0, "quarantined": 0}
    comparison = await api.get("/v1/runs/run_1/comparison")
    assert (comparison["baseline"], comparison["counts"]["new_failure"]) == (None, 2)


async def test_decision_states_that_not_all_failures_were_searched(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_runs, "MAX_SEARCHED_CASES", 1)
    await api.store.ingest(run("run_1", 2, FAILED, result("logs in", "error")), run("run_2", 3, FAILED))
    policy = {"policy": STRICT}
    assert [(await post(api, policy, run_id))[1]["truncated"] for run_id in ("run_1", "run_2")] == [True, False]


async def test_passed_decision_has_one_event(api: Api) -> None:
    await api.store.ingest(run("run_1", 2))
    await put_gate(api, STRICT)
    response = await api.send("POST", "/v1/runs/run_1/decisions", json={"gate": "release"})
    decision = await response.json()
    assert response.headers["Location"] == f"/v1/decisions/{decision['id']}"
    assert await decision_events(api) == [("gate.decided", decision)]


async def test_inline_policy_is_a_dry_run(api: Api) -> None:
    await api.store.ingest(run("run_1", 2, FAILED))
    status, decision = await post(api, {"policy": STRICT | {"max_missing_parts": 0}})
    assert (status, decision["decision"], decision["gate"], decision["gate_version"]) == (200, "blocked", None, None)
    assert decision["id"] is None
    assert (await api.get("/v1/decisions"))["data"] == []
    assert await decision_events(api) == []
    assert await api.store.pool.fetchval("SELECT count(*) FROM audit_trail") == 0
    await put_gate(api, STRICT)
    stored = (await decide(api))[1]
    unstored = ("id", "gate", "gate_version", "created_by", "created_by_name", "created_at")
    assert stored | dict.fromkeys(unstored) == decision | {"created_at": None}


async def test_each_changed_input_makes_a_new_decision(api: Api) -> None:
    await api.store.ingest(run("main_1", 1, FAILED), run("run_1", 2, FAILED))
    await put_gate(api, STRICT)
    first = (await decide(api))[1]
    assert (await waive(api, first["id"]))[0] == 201
    ids = {first["id"]}
    changes: list[Any] = [
        lambda: api.store.ingest(run("run_1", 2, result("late"), shard=2)),
        lambda: api.store.ingest(run("main_1", 1, result("late"), shard=2)),
        lambda: api.store.ingest(run("main_0", 0, FAILED)),
        lambda: put_gate(api, {"max_failures": 0, "max_flaky": 0}),
    ]
    for change in changes:
        await change()
        status, decision = await decide(api)
        assert (status, decision["decision"], decision["waiver"]) == (201, "blocked", None)
        ids.add(decision["id"])
    assert len(ids) == 5
    await put_gate(api, STRICT)
    assert [(await decide(api))[0] for _ in range(2)] == [201, 200]
    await put_gate(api, STRICT, "other")
    assert (await decide(api, gate="other"))[0] == 201


async def test_equal_inputs_return_the_waived_decision(api: Api) -> None:
    await api.store.ingest(run("run_1", 2, FAILED))
    await put_gate(api, STRICT)
    blocked = (await decide(api))[1]
    key = await api.make_key("admin")
    status, waived = await waive(api, blocked["id"], key=key.key)
    assert status == 201
    waiver = waived["waiver"]
    assert waiver == {
        "reason": "known outage", "created_by": key.key_id, "created_by_name": "test",
        "created_at": waiver["created_at"],
    }  # fmt: skip
    assert waived == blocked | {"decision": "waived", "waiver": waiver}
    assert await decide(api) == (200, waived)
    assert (await api.get("/v1/decisions"))["data"] == [waived]
    assert "test" not in await api.store.pool.fetchval("SELECT waiver::text FROM decisions")
    assert len(await decision_events(api)) == 2
    assert (await waive(api, blocked["id"]))[0] == 409
    actions = await api.store.pool.fetch("SELECT action, actor FROM audit_trail")
    assert (f"POST /v1/decisions/{blocked['id']}/waiver", key.key_id) in [tuple(row) for row in actions]


async def test_audit_trail_contains_only_stored_decisions(api: Api) -> None:
    await api.store.ingest(run("run_1", 2))
    await put_gate(api, STRICT)
    viewer, uploader = [(await api.make_key(role)).key for role in ("viewer", "uploader")]
    statuses = [(await post(api, {"gate": "release"}, key=key))[0] for key in (viewer, uploader, uploader, viewer)]
    replayed = [
        await api.send("POST", "/v1/runs/run_1/decisions", key=uploader, json={"gate": "release"}, Idempotency_Key="k")
        for _ in range(2)
    ]
    assert statuses + [response.status for response in replayed] == [200, 201, 200, 200, 200, 200]
    recorded = "SELECT count(*) FROM audit_trail WHERE action = 'POST /v1/runs/run_1/decisions'"
    assert await api.store.pool.fetchval(recorded) == 1


async def test_decision_of_a_key_that_stores_none_is_a_dry_run(api: Api) -> None:
    """It allows all parts to be missing, and would be the newest decision, which lists and pages show."""
    for run_id, parts in (("main_1", "ab"), ("run_1", "a")):
        for part in parts:
            hour = 1 if run_id == "main_1" else 2
            await api.store.ingest(run(run_id, hour, result(f"in {part}"), part=part, final=part == parts[-1]))
    await put_gate(api, STRICT)
    uploader, viewer = [await api.make_key(role, name=role) for role in ("uploader", "viewer")]
    status, blocked = await post(api, {"gate": "release"}, key=uploader.key)
    assert (status, blocked["decision"]) == (201, "blocked")
    assert (blocked["created_by"], blocked["created_by_name"]) == (uploader.key_id, "uploader")
    assert (await decide(api))[1] == blocked  # of another key: the first one made it
    allowed = {"allow_missing_parts": ["*"]}
    status, by_gate = await post(api, {"gate": "release", **allowed}, key=viewer.key)
    assert (status, by_gate["id"], by_gate["decision"], by_gate["created_by"]) == (200, None, "passed", None)
    assert (by_gate["gate"], by_gate["gate_version"]) == ("release", 1)
    policy = {"policy": STRICT, "record": True, **allowed}
    status, by_policy = await post(api, policy, key=viewer.key)
    assert (status, by_policy["id"], by_policy["decision"]) == (200, None, "passed")
    assert (await api.get("/v1/decisions"))["data"] == [blocked]
    assert [type_ for type_, _ in await decision_events(api)] == ["gate.decided", "release.gate_blocked"]


async def test_waived_decision_is_returned_to_a_key_that_stores_none(api: Api) -> None:
    """A deployment with the key of a viewer continues after the waiver."""
    await api.store.ingest(run("run_1", 2, FAILED))
    await put_gate(api, STRICT)
    viewer = (await api.make_key("viewer")).key
    id_ = (await decide(api))[1]["id"]
    assert (await post(api, {"gate": "release"}, key=viewer))[1]["decision"] == "blocked"
    waived = (await waive(api, id_))[1]
    assert await post(api, {"gate": "release"}, key=viewer) == (200, waived)


async def test_decision_of_an_earlier_version_names_nobody(api: Api, database_url: str) -> None:
    await api.store.ingest(run("run_1", 2))
    await put_gate(api, STRICT)
    id_ = (await decide(api))[1]["id"]
    owner = await asyncpg.connect(database_url)
    await owner.execute("UPDATE decisions SET created_by = NULL")
    await owner.close()
    decision = MODEL.validate_python(await api.get(f"/v1/decisions/{id_}"))
    assert decision["created_by"] is decision["created_by_name"] is None


async def test_only_a_blocked_decision_can_be_waived_with_a_reason(api: Api) -> None:
    await api.store.ingest(run("run_1", 2))
    await put_gate(api, STRICT)
    passed = (await decide(api))[1]
    assert (await waive(api, passed["id"]))[0] == 409
    for reason in ("", " ", None, 5, "\0", "x" * 1001):
        status, body = await waive(api, passed["id"], reason)
        assert (status, body["error"]["param"]) == (400, "reason")
    for id_ in ("dec_1", new_id("dec"), "a%00"):
        assert (await waive(api, id_))[0] == 404


async def test_only_admins_of_the_project_waive(api: Api) -> None:
    await api.store.ingest(run("run_1", 2, FAILED))
    await put_gate(api, STRICT)
    id_ = (await decide(api))[1]["id"]
    _, other = await api.make_organization("other")
    roles = [(await api.make_key(role)).key for role in ("viewer", "engineer")]
    bound = (await api.make_key("admin", project_id="blog")).key
    assert [(await waive(api, id_, key=key))[0] for key in (*roles, bound, other)] == [403, 403, 404, 404]
    for key in (bound, other):
        await api.error(f"/v1/decisions/{id_}", 404, key=key)
        assert (await api.get("/v1/decisions", key=key))["data"] == []
        assert (await post(api, {"gate": "release"}, key=key))[0] == 404
        assert (await post(api, {"policy": STRICT}, key=key))[0] == 404
    own = (await api.make_key("admin", project_id="shop")).key
    assert len((await api.get("/v1/decisions", key=own))["data"]) == 1
    assert (await post(api, {"gate": "release"}, key=roles[0]))[0] == 200
    assert (await waive(api, id_, key=own))[0] == 201


async def test_unknown_run_gate_and_incomplete_run(api: Api) -> None:
    await put_gate(api, STRICT)
    assert (await decide(api))[0] == 404
    await api.store.ingest(run("run_1", 2, final=False))
    assert (await decide(api))[0] == 409
    assert (await post(api, {"policy": STRICT}))[0] == 409
    assert (await post(api, {"gate": "release"}, wait="1"))[0] == 409
    await api.send("POST", "/v1/runs/run_1/complete")
    assert (await decide(api, gate="none"))[0] == 404
    assert (await decide(api))[0] == 201
    for body, param in (({}, "gate"), ({"gate": "release", "policy": STRICT}, "gate"), ({"gate": 5}, "gate"),
                        ({"gate": ""}, "gate"), ({"gates": "release"}, "gates")):  # fmt: skip
        status, content = await post(api, body)
        assert (status, content["error"]["param"]) == (400, param), body


async def test_decision_waits_for_the_run(api: Api) -> None:
    await put_gate(api, STRICT)
    waiting = asyncio.create_task(post(api, {"gate": "release"}, wait="10"))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await api.store.ingest(run("run_1", 2))
    assert (await waiting)[0] == 201


async def test_concurrent_identical_decisions_create_one_row(api: Api) -> None:
    await api.store.ingest(run("run_1", 2, FAILED))
    await put_gate(api, STRICT)
    decided = await asyncio.gather(*(decide(api) for _ in range(50)))
    assert sorted(status for status, _ in decided) == [200] * 49 + [201]
    assert len({decision["id"] for _, decision in decided}) == 1
    assert await api.store.pool.fetchval("SELECT count(*) FROM decisions") == 1
    assert len(await decision_events(api)) == 2


async def test_requests_that_find_no_decision_at_the_same_time_create_one_row(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.store.ingest(run("run_1", 2, FAILED))
    await put_gate(api, STRICT)
    find, both = gates_store.find_by_digest, asyncio.Barrier(2)

    async def find_together(*arguments: Any) -> Any:
        found = await find(*arguments)
        if found is None:
            await both.wait()
        return found

    monkeypatch.setattr(gates_store, "find_by_digest", find_together)
    decided = await asyncio.gather(decide(api), decide(api))
    assert sorted(status for status, _ in decided) == [200, 201]
    assert decided[0][1] == decided[1][1]
    assert len(await decision_events(api)) == 2


async def test_concurrent_requests_with_one_idempotency_key_create_one_row(api: Api) -> None:
    await api.store.ingest(run("run_1", 2, FAILED))
    await put_gate(api, STRICT)
    send = [
        api.send("POST", "/v1/runs/run_1/decisions", json={"gate": "release"}, Idempotency_Key="k") for _ in range(10)
    ]
    statuses = [response.status for response in await asyncio.gather(*send)]
    assert 201 in statuses
    assert set(statuses) <= {201, 409}
    assert await api.store.pool.fetchval("SELECT count(*) FROM decisions") == 1


async def test_decisions_outlive_their_run_but_not_its_identity(api: Api) -> None:
    """A run that is sent again after its deletion has the same key and revision."""
    await api.store.ingest(run("run_1", 2, FAILED))
    await put_gate(api, STRICT)
    decision = (await decide(api))[1]
    assert (await api.send("DELETE", "/v1/runs/run_1")).status == 204
    assert await api.get(f"/v1/decisions/{decision['id']}") == decision
    await api.store.ingest(run("run_1", 2, result("pays")))
    status, again = await decide(api)
    assert (status, again["decision"]) == (201, "passed")


async def test_quarantined_failures_are_excused(api: Api) -> None:
    await api.store.ingest(run("run_1", 2, FAILED, result("logs in", "failed")))
    await put_gate(api, {"max_failures": 1})
    blocked = (await decide(api))[1]
    body = {"project_id": "shop", "name": "pay?", "reason": "unstable"}
    assert (await api.send("POST", "/v1/quarantines", json=body)).status == 201
    status, decision = await decide(api)
    assert (status, decision["decision"]) == (201, "passed")
    assert decision["failures"] == {"new": 1, "known": 0, "flaky": 0, "quarantined": 1}
    assert decision["id"] != blocked["id"]
    assert await api.get(f"/v1/decisions/{blocked['id']}") == blocked
    assert await decide(api) == (200, decision)


async def test_failures_that_globs_take_too_long_to_match_are_neither_passed_nor_blocked(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.store.ingest(run("run_1", 2, FAILED))
    await put_gate(api, {"max_failures": 9})
    body = {"project_id": "shop", "name": "*", "reason": "unstable"}
    assert (await api.send("POST", "/v1/quarantines", json=body)).status == 201
    monkeypatch.setattr(find_excused, "_BUDGET_S", 0)
    for json in ({"gate": "release"}, {"policy": {"max_failures": 9}}):
        response = await api.send("POST", "/v1/runs/run_1/decisions", json=json)
        assert (response.status, response.headers["Retry-After"]) == (503, "30")
        error = (await response.json())["error"]
        assert (error["code"], error["message"].split(":")[0]) == ("unavailable", "quarantines")
    assert (await api.get("/v1/decisions"))["data"] == await decision_events(api) == []
    await api.error("/v1/runs/run_1/comparison", 503)
    monkeypatch.undo()
    assert (await decide(api))[1]["failures"]["quarantined"] == 1


@pytest.mark.parametrize(
    ("fields", "value"),
    [({"status": "canceled"}, "canceled"), ({"status": "failed"}, "failures_missing")],
)
async def test_status_of_the_run_blocks(api: Api, fields: Any, value: str) -> None:
    await api.store.ingest(run("run_1", 2, **fields))
    decision = (await post(api, {"policy": {"min_results": 1}}))[1]
    assert decision["decision"] == "blocked"
    assert decision["rules"][0] == {"rule": "run_status", "limit": None, "value": value, "passed": False}


async def test_decisions_are_listed_newest_first_with_filters(api: Api) -> None:
    await api.store.ingest(run("run_1", 1), run("run_2", 2, FAILED), run("run_3", 3, project_id="blog"))
    for name in ("a", "b"):
        await put_gate(api, STRICT, name)
        for run_id in ("run_1", "run_2", "run_3"):
            await decide(api, run_id, name)

    async def listed(key: str | None = None, **filters: str) -> list[tuple[str, str]]:
        page = await api.get("/v1/decisions", filters, key)
        return [(item["run_id"], item["gate"]) for item in page["data"]]

    complete = [(run_id, gate) for gate in "ba" for run_id in ("run_3", "run_2", "run_1")]
    assert await listed() == complete
    assert await listed(run_id="run_2") == [("run_2", "b"), ("run_2", "a")]
    assert await listed(gate="a", decision="blocked") == [("run_2", "a")]
    assert await listed(decision="passed") == [("run_3", "b"), ("run_1", "b"), ("run_3", "a"), ("run_1", "a")]
    assert await listed(decision="waived") == []
    assert await listed(gate="none") == []
    assert await listed((await api.make_key(project_id="blog")).key) == [("run_3", "b"), ("run_3", "a")]
    for limit in ("1", "2", "5"):
        items = await api.list_all("/v1/decisions", {"limit": limit, "decision": "passed"})
        assert [(item["run_id"], item["gate"]) for item in items] == [pair for pair in complete if pair[0] != "run_2"]
    assert (await api.error("/v1/decisions", 400, {"decision": "open"}))["param"] == "decision"
