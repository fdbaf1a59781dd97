"""The decisions that a list of runs shows: of the revision and the run of each row, the worst of the newest ones."""

from typing import Any

import asyncpg
import pytest

from service.contracts.queries import RunQuery
from service.database.statements import Statement
from service.domain.ids import OrgId
from service.gates.model import DecisionSummary
from service.identity.keys.model import Caller
from service.runs.operations import list_runs
from service.runs.overview import find_run_decisions
from tests.run_events import result, run_event
from tests.served import Api

FAILED = result("pays", "failed")


def run(run_id: str, hour: int, *results: Any, **fields: Any) -> Any:
    stated = {"branch": "main", "completed_at": f"2026-05-01T{hour:02}:00:00Z"} | fields
    return run_event(run_id, list(results) or [FAILED], **stated)


async def decide(api: Api, run_id: str, gate: str = "", **policy: Any) -> str:
    if policy and gate:
        await api.send("PUT", f"/v1/gates/{gate}", json={"policy": policy})
    body = {"gate": gate} if gate else {"policy": policy, "record": True}
    response = await api.send("POST", f"/v1/runs/{run_id}/decisions", json=body)
    assert response.status in (200, 201)
    return str((await response.json())["decision"])


async def shown(api: Api, project_id: str | None = None, org_id: OrgId | None = None) -> dict[str, DecisionSummary]:
    """Return the decisions of the runs of the first page by run_id."""
    pool, caller = api.resources.pool, Caller(api.org_id, "key_1", "viewer", None)
    rows = (await list_runs(pool, caller, RunQuery(limit=100))).items
    reader = Caller(org_id or api.org_id, "key_1", "viewer", project_id)
    found = await find_run_decisions(pool, reader, rows)
    return {row.run_id: found[row.run_key] for row in rows if row.run_key in found}


async def test_each_run_has_the_decision_about_its_revision(api: Api) -> None:
    await api.store.ingest(run("main_1", 1), run("run_1", 2, FAILED, result("new", "error")), run("run_2", 3))
    assert await decide(api, "run_1", "release", max_new_failures=0) == "blocked"
    assert await decide(api, "run_2", max_new_failures=0) == "passed"
    found = await shown(api)
    assert found.keys() == {"run_1", "run_2"}
    (_, *blocked), (_, *recorded) = found["run_1"], found["run_2"]
    assert blocked == ["blocked", "release", 1, (1, 1, 0, 0), 0, True]
    assert recorded == ["passed", None, 1, (0, 1, 0, 0), 0, True]
    await api.store.ingest(run("run_1", 2, result("late"), shard=2))
    assert (await shown(api)).keys() == {"run_2"}
    assert await decide(api, "run_1", "release") == "blocked"
    assert (await shown(api))["run_1"].revision == 2


async def test_run_without_a_baseline_states_it(api: Api) -> None:
    await api.store.ingest(run("run_1", 2))
    await decide(api, "run_1", max_new_failures=0)
    decision = (await shown(api))["run_1"]
    assert (decision.failures.new, decision.has_baseline) == (1, False)


async def test_the_worst_of_the_newest_decisions_is_shown(api: Api) -> None:
    await api.store.ingest(run("run_1", 2))
    await decide(api, "run_1", "release", max_failures=0)
    assert (await shown(api))["run_1"].decision == "blocked"
    await decide(api, "run_1", "release", max_failures=9)
    assert (await shown(api))["run_1"].decision == "passed"
    await decide(api, "run_1", max_failures=0)
    await decide(api, "run_1", max_failures=8)
    await decide(api, "run_1", "other", max_failures=7)
    found = (await shown(api))["run_1"]
    assert (found.decision, found.gate) == ("blocked", None)


@pytest.mark.parametrize("gate", ["release", ""])
async def test_the_inputs_of_an_earlier_decision_are_decided_again(api: Api, gate: str) -> None:
    """A quarantine let the run pass, and ended: the list must show the decision that the gate returned last."""
    await api.store.ingest(run("run_1", 2))
    policy = {"max_failures": 0}
    assert await decide(api, "run_1", gate, **policy) == "blocked"
    for _ in range(2):
        body = {"project_id": "shop", "name": "pays", "reason": "unstable"}
        quarantine = await (await api.send("POST", "/v1/quarantines", json=body)).json()
        assert await decide(api, "run_1", gate, **policy) == "passed"
        assert (await shown(api))["run_1"].decision == "passed"
        await api.send("DELETE", f"/v1/quarantines/{quarantine['id']}")
        assert await decide(api, "run_1", gate, **policy) == "blocked"
        assert await decide(api, "run_1", gate, **policy) == "blocked"
        assert (await shown(api))["run_1"].decision == "blocked"
    assert len((await api.get("/v1/decisions"))["data"]) == 5


async def test_a_waived_decision_stays_waived(api: Api) -> None:
    await api.store.ingest(run("run_1", 2))
    await decide(api, "run_1", "release", max_failures=0)
    [decision] = (await api.get("/v1/decisions"))["data"]
    await api.send("POST", f"/v1/decisions/{decision['id']}/waiver", json={"reason": "known"})
    assert await decide(api, "run_1", "release", max_failures=9) == "passed"
    assert await decide(api, "run_1", "release", max_failures=0) == "waived"


async def test_many_newer_decisions_of_a_gate_do_not_hide_another_one(api: Api, database_url: str) -> None:
    await api.store.ingest(run("run_1", 2))
    await decide(api, "run_1", "release", max_failures=0)
    await decide(api, "run_1", "health", max_failures=9)
    owner = await asyncpg.connect(database_url)
    await owner.execute(
        "INSERT INTO decisions SELECT (copied).* FROM ("
        " SELECT jsonb_populate_record(d, jsonb_build_object('decision_id', decision_id || n, 'digest', n)) AS copied"
        " FROM decisions d, generate_series(1, 500) n WHERE gate = 'health') copies"
    )
    await owner.close()
    found = (await shown(api))["run_1"]
    assert (found.decision, found.gate) == ("blocked", "release")


async def test_decision_of_a_deleted_run_with_the_same_id_is_not_shown(api: Api) -> None:
    await api.store.ingest(run("run_1", 2))
    await decide(api, "run_1", max_failures=0)
    assert (await shown(api)).keys() == {"run_1"}
    await api.send("DELETE", "/v1/runs/run_1")
    await api.store.ingest(run("run_1", 2, result("pays")))
    assert await shown(api) == {}


async def test_only_missing_parts_that_are_not_allowed_count(api: Api, database_url: str) -> None:
    for run_id, hour, parts in (("main_1", 1, "abc"), ("run_1", 2, "a")):
        for part in parts:
            event = run(run_id, hour, result(f"in {part}"), part=part, final=part == parts[-1])
            await api.store.ingest(event)
    body = {"policy": {"max_missing_parts": 0}, "record": True, "allow_missing_parts": ["b"]}
    await api.send("POST", "/v1/runs/run_1/decisions", json=body)
    assert (await shown(api))["run_1"].missing_parts == 1
    owner = await asyncpg.connect(database_url)
    await owner.execute("UPDATE decisions SET missing = NULL")
    await owner.close()
    assert (await shown(api))["run_1"].missing_parts is None


async def test_decisions_of_other_organizations_and_projects_are_not_shown(api: Api) -> None:
    await api.store.ingest(run("run_1", 2), run("run_2", 3, project_id="blog"))
    for run_id in ("run_1", "run_2"):
        await decide(api, run_id, max_failures=0)
    other, _ = await api.make_organization("other")
    assert (await shown(api, "blog")).keys() == {"run_2"}
    assert await shown(api, org_id=other) == {}


async def test_a_page_needs_two_statements(api: Api, monkeypatch: Any) -> None:
    await api.store.ingest(*(run(f"run_{number}", number) for number in range(5)))
    for number in range(5):
        await decide(api, f"run_{number}", max_failures=0)
    pool, caller = api.resources.pool, Caller(api.org_id, "key_1", "viewer", None)
    rows = (await list_runs(pool, caller, RunQuery())).items
    executed: list[str] = []
    fetch = Statement.fetch_rows

    async def counted(statement: Any, *arguments: Any) -> Any:
        executed.append(statement.name)
        return await fetch(statement, *arguments)

    monkeypatch.setattr(Statement, "fetch_rows", counted)
    assert len(await find_run_decisions(pool, caller, rows)) == 5
    assert executed == ["decisions_of_runs", "creation_of_runs"]
