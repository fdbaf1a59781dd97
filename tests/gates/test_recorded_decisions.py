"""Recorded decisions: an inline policy whose decision is stored once, without events and without a waiver."""

import asyncio
from typing import Any

import pytest

from tests.run_events import result, run_event
from tests.served import Api

STRICT = {"max_failures": 0}
RECORDED = {"policy": STRICT, "record": True}


def run(run_id: str, hour: int, *results: Any, **fields: Any) -> Any:
    stated = {"branch": "main", "completed_at": f"2026-05-01T{hour:02}:00:00Z"} | fields
    return run_event(run_id, list(results) or [result("pays", "failed")], **stated)


async def post(api: Api, body: Any = RECORDED, key: str | None = None) -> tuple[int, Any]:
    response = await api.send("POST", "/v1/runs/run_1/decisions", key=key, json=body)
    content = await response.json()
    if content.get("id"):
        assert response.headers["Location"] == f"/v1/decisions/{content['id']}"
    return response.status, content


async def test_recorded_decision_is_stored_once_without_events(api: Api) -> None:
    await api.store.ingest(run("run_1", 2))
    dry = (await post(api, {"policy": STRICT}))[1]
    status, decision = await post(api)
    assert (status, decision["gate"], decision["gate_version"]) == (201, None, None)
    unstored = dict.fromkeys(("id", "created_by", "created_by_name", "created_at"))
    assert decision | unstored == dry | unstored
    assert await post(api) == (200, decision)
    assert await api.get(f"/v1/decisions/{decision['id']}") == decision
    for filters in ({}, {"run_id": "run_1"}, {"decision": "blocked"}):
        assert (await api.get("/v1/decisions", filters))["data"] == [decision]
    assert (await api.get("/v1/decisions", {"gate": "release"}))["data"] == []
    assert await api.store.pool.fetchval("SELECT count(*) FROM events WHERE type LIKE '%gate%'") == 0
    actions = await api.store.pool.fetch("SELECT action FROM audit_trail")
    assert [row["action"] for row in actions] == ["POST /v1/runs/run_1/decisions"]


async def test_each_changed_input_makes_a_new_recorded_decision(api: Api) -> None:
    await api.store.ingest(run("main_1", 1), run("run_1", 2))
    ids = {(await post(api))[1]["id"]}
    changes: list[Any] = [
        api.store.ingest(run("run_1", 2, result("late"), shard=2)),
        api.store.ingest(run("main_1", 1, result("late"), shard=2)),
        api.send("PUT", "/v1/gates/release", json={"policy": STRICT}),
    ]
    for change, expected in zip(changes, (201, 201, 200), strict=True):
        await change
        status, decision = await post(api)
        assert status == expected
        ids.add(decision["id"])
    other = await post(api, RECORDED | {"policy": STRICT | {"max_flaky": 0}})
    assert other[0] == 201
    assert len(ids) == 3


async def test_a_recorded_policy_and_a_gate_with_equal_limits_are_two_decisions(api: Api) -> None:
    await api.store.ingest(run("run_1", 2))
    await api.send("PUT", "/v1/gates/release", json={"policy": STRICT | {"max_missing_parts": None}})
    by_gate = await post(api, {"gate": "release"})
    recorded = await post(api)
    assert (by_gate[0], recorded[0]) == (201, 201)
    assert by_gate[1]["id"] != recorded[1]["id"]


async def test_concurrent_recorded_decisions_create_one_row(api: Api) -> None:
    await api.store.ingest(run("run_1", 2))
    decided = await asyncio.gather(*(post(api) for _ in range(20)))
    assert sorted(status for status, _ in decided) == [200] * 19 + [201]
    assert await api.store.pool.fetchval("SELECT count(*) FROM decisions") == 1


async def test_recording_requires_the_permission_to_create_reports(api: Api) -> None:
    await api.store.ingest(run("run_1", 2))
    viewer, uploader = [(await api.make_key(role)).key for role in ("viewer", "uploader")]
    for record in (True, False):
        status, body = await post(api, RECORDED | {"record": record}, key=viewer)
        assert (status, body["id"], body["decision"]) == (200, None, "blocked")
    assert (await post(api, key=uploader))[0] == 201
    bound = (await api.make_key("uploader", project_id="blog")).key
    assert (await post(api, key=bound))[0] == 404


async def test_recorded_decision_cannot_be_waived(api: Api) -> None:
    await api.store.ingest(run("run_1", 2))
    decision = (await post(api))[1]
    response = await api.send("POST", f"/v1/decisions/{decision['id']}/waiver", json={"reason": "known outage"})
    message = (await response.json())["error"]["message"]
    assert response.status == 409
    assert message.endswith("records the policy of a request; only a decision of a gate can be waived")
    assert await api.get(f"/v1/decisions/{decision['id']}") == decision


@pytest.mark.parametrize("body", [{"gate": "release", "record": True}, RECORDED | {"record": "true"}])
async def test_only_a_policy_is_recorded(api: Api, body: Any) -> None:
    await api.store.ingest(run("run_1", 2))
    await api.send("PUT", "/v1/gates/release", json={"policy": STRICT})
    status, content = await post(api, body)
    assert (status, content["error"]["param"]) == (400, "record")
    assert (await post(api, {"gate": "release", "record": False}))[0] == 201


async def test_a_recorded_decision_shows_allowed_parts(api: Api) -> None:
    for run_id, parts in (("main_1", "ab"), ("run_1", "a")):
        hour = 1 if run_id == "main_1" else 2
        for part in parts:
            await api.store.ingest(run(run_id, hour, result(f"in {part}"), part=part, final=part == parts[-1]))
    policy = {"policy": {"max_missing_parts": 0}, "record": True}
    blocked, allowed = await post(api, policy), await post(api, policy | {"allow_missing_parts": ["b"]})
    found = [(each["decision"], [part["allowed"] for part in each["missing_parts"]]) for _, each in (blocked, allowed)]
    assert found == [("blocked", [False]), ("passed", [True])]
    assert blocked[1]["id"] != allowed[1]["id"]
