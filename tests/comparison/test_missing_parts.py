"""Missing parts and cases: what a run lacks compared with the baseline blocks gates, and the comparison names it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pydantic
import pytest

from service.comparison import store as comparison_store
from service.comparison.contract import RunComparison
from service.comparison.model import ComparedPart
from service.comparison.store import ComparedKeys
from service.domain.ids import OrgId, RunKey
from service.gates.contract import Decision
from service.quarantines import find_excused
from tests.report_api import serving_reports_with_ingester
from tests.run_events import result, run_event
from tests.served import Api

COMPARISON = pydantic.TypeAdapter(RunComparison)
DECISION = pydantic.TypeAdapter(Decision)
JOBS = ("api", "cli", "docs", "ui", "worker")
UNNAMED: dict[str, Any] = {"part": None, "variant": {}, "shard": None}


async def send(api: Api, run_id: str, hour: int, jobs: Sequence[str], **fields: Any) -> None:
    """Send one event per job. Each job has a case of its own."""
    for job in jobs:
        event = run_event(
            run_id,
            [result(f"test of {job}")],
            **{"branch": "main", "completed_at": f"2026-05-01T{hour:02}:00:00Z", "part": job, "attempt": 1, **fields},
        )
        (outcome,) = await api.store.ingest(event)
        assert outcome.status == "stored"


async def compare(api: Api, run_id: str = "run_1", **params: Any) -> Any:
    comparison = await api.get(f"/v1/runs/{run_id}/comparison", **params)
    COMPARISON.validate_python(comparison)
    return comparison


async def decide(api: Api, **body: Any) -> Any:
    response = await api.send("POST", "/v1/runs/run_1/decisions", json=body)
    decision = await response.json()
    assert response.status in (200, 201), decision
    DECISION.validate_python(decision)
    return decision


async def put_gate(api: Api, **policy: Any) -> None:
    assert (await api.send("PUT", "/v1/gates/release", json={"policy": policy})).status in (200, 201)


def names(parts: Sequence[Any]) -> list[str]:
    return [part["part"] for part in parts]


def rule(decision: Any, name: str) -> Any:
    return next((each for each in decision["rules"] if each["rule"] == name), None)


async def test_jobs_that_sent_no_results_block_the_run(api: Api) -> None:
    for hour in (1, 2, 3):
        await send(api, f"main_{hour}", hour, JOBS)
    await send(api, "run_1", 4, ["api"])
    comparison = await compare(api)
    assert names(comparison["missing_parts"]) == ["cli", "docs", "ui", "worker"]
    assert comparison["missing_parts"][0] == UNNAMED | {"part": "cli"}
    assert (comparison["missing_cases"], comparison["missing_cases_sample"]) == (0, [])
    await put_gate(api, max_failures=0)
    decision = await decide(api, gate="release")
    assert decision["decision"] == "blocked"
    assert rule(decision, "max_missing_parts") == {
        "rule": "max_missing_parts", "limit": 0, "value": 4, "passed": False
    }  # fmt: skip
    assert decision["missing_parts"] == [
        {**UNNAMED, "part": job, "allowed": False} for job in ("cli", "docs", "ui", "worker")
    ]


async def test_job_that_most_runs_of_the_window_lack_is_not_missing(api: Api) -> None:
    await send(api, "main_1", 1, ["api"])
    await send(api, "main_2", 2, ["api", "nightly"])
    await send(api, "run_1", 3, ["api"])
    comparison = await compare(api)
    assert comparison["missing_parts"] == []
    assert comparison["missing_cases"] == 1  # no other part of the run executed the case


async def test_job_that_four_of_five_runs_of_the_window_have_is_missing(api: Api) -> None:
    await send(api, "main_1", 1, ["api"])
    for hour in range(2, 6):
        await send(api, f"main_{hour}", hour, ["api", "docs"])
    await send(api, "run_1", 6, ["api"])
    assert names((await compare(api))["missing_parts"]) == ["docs"]


async def test_renamed_job_with_the_same_cases_is_not_missing(api: Api) -> None:
    await send(api, "main_1", 1, ["api"])
    event = run_event("run_1", [result("test of api")], part="api tests", attempt=1, branch="main")
    await api.store.ingest(event)
    comparison = await compare(api)
    assert (comparison["missing_parts"], comparison["missing_cases"]) == ([], 0)


async def test_variants_and_shards_of_a_job_are_parts(api: Api) -> None:
    for run_id, hour, shards in (("main_1", 1, (1, 2)), ("run_1", 2, (1,))):
        for shard in shards:
            event = run_event(
                run_id, [result(f"case {shard}")], branch="main", completed_at=f"2026-05-01T{hour:02}:00:00Z",
                part="unit", attempt=1, shard=shard,
            )  # fmt: skip
            event["data"]["variant"] = {"os": "linux"}
            await api.store.ingest(event)
    assert (await compare(api))["missing_parts"] == [{"part": "unit", "variant": {"os": "linux"}, "shard": 2}]


async def test_cases_that_present_jobs_lack_are_counted(api: Api) -> None:
    cases = [result("a"), result("b", "failed"), result("skips", "skipped")]
    await api.store.ingest(
        run_event("main_1", cases, branch="main", completed_at="2026-05-01T01:00:00Z", part="api", attempt=1)
    )
    await send(api, "main_1", 1, ["docs"])
    await send(api, "run_1", 2, ["api"])
    comparison = await compare(api)
    assert names(comparison["missing_parts"]) == ["docs"]
    assert comparison["missing_cases"] == 2
    assert sorted(case["name"] for case in comparison["missing_cases_sample"]) == ["a", "b"]
    decision = await decide(api, policy={"max_missing_cases": 1})
    assert rule(decision, "max_missing_cases")["passed"] is False
    assert rule(decision, "max_missing_parts") is None  # an inline policy checks only its own limits
    assert decision["missing_cases"] == 2


async def test_request_allows_parts_to_be_missing(api: Api) -> None:
    await send(api, "main_1", 1, JOBS)
    await send(api, "run_1", 2, ["api", "cli", "ui"])
    await put_gate(api, max_failures=0)
    blocked = await decide(api, gate="release")
    assert rule(await decide(api, gate="release", allow_missing_parts=["docs"]), "max_missing_parts")["value"] == 1
    passed = await decide(api, gate="release", allow_missing_parts=["do?s", "work*"])
    assert (blocked["decision"], passed["decision"]) == ("blocked", "passed")
    assert [part["allowed"] for part in passed["missing_parts"]] == [True, True]
    assert len({blocked["id"], passed["id"]}) == 2


async def test_globs_of_allowed_parts_use_a_budget_of_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process returns no other response while it compares a glob. 50 globs and 5,000 parts need 10 s."""
    await send(api, "main_1", 1, JOBS)
    await send(api, "run_1", 2, ["api"])
    monkeypatch.setattr(find_excused, "_BUDGET_S", 0.0)
    body = {"policy": {"max_failures": 0}, "allow_missing_parts": ["*a*b*"] * 50}
    response = await api.send("POST", "/v1/runs/run_1/decisions", json=body)
    assert (response.status, response.headers["Retry-After"]) == (503, "30")
    assert (await response.json())["error"]["message"].startswith("allow_missing_parts: ")


@pytest.mark.parametrize(("policy", "decision"), [({}, "blocked"), ({"max_missing_parts": None}, "passed")])
async def test_gate_can_state_that_parts_are_not_checked(api: Api, policy: Any, decision: str) -> None:
    await send(api, "main_1", 1, JOBS)
    await send(api, "run_1", 2, ["api"])
    await put_gate(api, max_failures=0, **policy)
    gate = await api.get("/v1/gates/release")
    assert gate["policy"]["max_missing_parts"] == policy.get("max_missing_parts", 0)
    await put_gate(api, **gate["policy"])
    assert (await api.get("/v1/gates/release"))["version"] == 1  # the same policy
    decided = await decide(api, gate="release")
    assert decided["decision"] == decision
    assert len(decided["missing_parts"]) == 4


async def test_gate_of_an_earlier_version_does_not_check_parts(api: Api, database_url: str) -> None:
    await send(api, "main_1", 1, JOBS)
    await send(api, "run_1", 2, ["api"])
    await put_gate(api, max_failures=0)
    owner = await asyncpg.connect(database_url)
    await owner.execute("UPDATE gates SET policy = policy - 'max_missing_parts'")
    await owner.close()
    decided = await decide(api, gate="release")
    assert (decided["decision"], len(decided["missing_parts"])) == ("passed", 4)


async def test_partial_run_of_the_window_is_not_the_baseline(api: Api) -> None:
    await send(api, "main_1", 1, JOBS)
    await send(api, "main_2", 2, JOBS)
    await send(api, "main_3", 3, ["api"])
    await send(api, "run_1", 4, ["api"])
    comparison = await compare(api)
    assert comparison["baseline"]["run_id"] == "main_2"
    assert comparison["counts"]["removed"] == 4


async def test_first_run_lacks_nothing(api: Api) -> None:
    await send(api, "run_1", 1, ["api"])
    decision = await decide(api, policy={"max_missing_parts": 0, "max_missing_cases": 0})
    assert (decision["decision"], decision["missing_parts"], decision["missing_cases"]) == ("passed", [], 0)


async def test_rerun_of_a_job_is_the_same_part(api: Api) -> None:
    await send(api, "main_1", 1, ["api", "docs"])
    await send(api, "run_1", 2, ["api"], attempt=1)
    await send(api, "run_1", 2, ["docs"], attempt=7)
    assert (await compare(api))["missing_parts"] == []


async def test_parts_of_a_window_are_counted_in_the_database(api: Api) -> None:
    """A window can have 300,000 parts and attempts, whose rows blocked the event loop for 3 s."""
    await send(api, "main_1", 1, ["api", "removed"])
    for run_id, hour in (("main_2", 2), ("run_1", 3)):
        for attempt in (1, 2):
            await send(api, run_id, hour, ["api"], attempt=attempt)
    async with api.store.pool.acquire() as connection:
        rows = await connection.fetch("SELECT run_key FROM runs WHERE org_id = $1 ORDER BY run_key DESC", api.org_id)
        run, baseline, earlier = (RunKey(row["run_key"]) for row in rows)
        keys = ComparedKeys(OrgId(api.org_id), run, baseline)
        (part,) = await comparison_store.find_parts(connection, keys, [baseline, earlier])
    expected = ComparedPart(("api", "", 0), runs=2, is_accepted=True, numbers=[10001, 10002])
    assert part._replace(numbers=sorted(part.numbers)) == expected


async def test_upload_without_results_is_missing_unless_it_states_that_none_are_expected(
    database_url: str, tmp_path: Path
) -> None:
    async with serving_reports_with_ingester(database_url, tmp_path) as reports:
        await send(reports.api, "main_1", 1, ["api", "docs"])
        await send(reports.api, "run_1", 2, ["api"], final=False)
        params = {"part": "docs", "attempt": "1"}
        assert (await reports.ingest(b"<testsuite/>", params=params))["status"] == "stored"
        assert names((await compare(reports.api))["missing_parts"]) == ["docs"]
        params["allow_empty"] = "true"
        assert (await reports.ingest(b"<testsuite/>", params=params))["status"] == "stored"
        assert (await compare(reports.api))["missing_parts"] == []


async def test_jobs_with_their_own_runs_do_not_lack_each_other(api: Api) -> None:
    for hour in range(1, 6):
        await send(api, f"unit_{hour}", hour, ["api"])
    await send(api, "run_1", 6, ["nightly"])
    decision = await decide(api, policy={"max_missing_parts": 0})
    assert (decision["decision"], decision["missing_parts"]) == ("passed", [])


async def test_pipeline_with_only_a_new_job_lacks_all_others(api: Api) -> None:
    await send(api, "main_1", 1, JOBS)
    await send(api, "run_1", 2, ["new"], final=False)
    assert names((await compare(api))["missing_parts"]) == list(JOBS)


async def test_run_without_stored_parts_lacks_nothing(api: Api) -> None:
    """A process of an earlier version can store a run during an upgrade."""
    await send(api, "main_1", 1, JOBS)
    await send(api, "run_1", 2, ["api"], final=False)
    await api.store.pool.execute(
        "DELETE FROM run_parts USING runs"
        " WHERE runs.org_id = run_parts.org_id AND runs.run_key = run_parts.run_key AND run_id = 'run_1'"
    )
    assert (await compare(api))["missing_parts"] == []
