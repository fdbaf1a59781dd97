"""Excuses of random runs, compared with an independent implementation of the rules."""

import random
from typing import Any, NamedTuple

import pytest

from tests.run_events import result, run_event
from tests.served import Api

CASES = "abcd"
EXECUTED = ("passed", "failed", "error")
FAILING = ("failed", "error")
VARIANTS: tuple[dict[str, str], ...] = ({}, {"os": "linux"})


class Scenario(NamedTuple):
    """Results by case of the uploads of each job and of the baseline, quarantines, and a request."""

    baseline: dict[str, str]
    uploads: list[dict[str, str]]  # of the job
    other: dict[str, str]  # of another job that executes the same tests
    variant: dict[str, str]
    quarantines: list[dict[str, Any]]
    requested: int  # uploads
    failures: int | None
    allow_missing_cases: bool


def make_scenario(seed: int) -> Scenario:
    chance = random.Random(seed)

    def pick(*statuses: str) -> dict[str, str]:
        return {name: chance.choice(statuses) for name in CASES if chance.random() < 0.95}

    mostly_passed = ("passed", "passed", "passed", "passed", "failed", "error", "skipped")
    uploads = [pick(*mostly_passed)]
    if chance.random() < 0.3:  # of several reports, or of another job with the same name
        uploads = [{name: status} for name, status in uploads[0].items()][:2]
        uploads += [pick("passed", "failed")] if chance.random() < 0.3 else []
    variant = chance.choice(VARIANTS)
    quarantines: list[dict[str, Any]] = [
        chance.choice(
            [
                {"suite": "auth.login", "name": name, "variant": variant},
                {"suite": "auth.login", "name": name, "variant": chance.choice(VARIANTS)},
                {"case": name},
                {"case": name},
                {"suite": "auth.login", "name": name + "*"},
                {"name": name, "variant": variant},
            ]
        )
        for name in CASES
        if chance.random() < 0.9
    ]
    stated = chance.choice([None, None, 1, 2])
    return Scenario(
        pick(*mostly_passed) if chance.random() < 0.9 else {}, uploads, pick(*mostly_passed), variant, quarantines,
        len(uploads) - (chance.random() < 0.3 and len(uploads) > 1), stated, chance.random() < 0.3,
    )  # fmt: skip


def is_excused(scenario: Scenario) -> bool:
    """Apply the rules to the uploads, which all belong to one attempt, so that the worst result of a case counts."""
    failing = {name for upload in scenario.uploads for name, status in upload.items() if status in FAILING}
    named = {
        quarantine.get("name") or quarantine["case"]
        for quarantine in scenario.quarantines
        if "case" in quarantine
        or ("suite" in quarantine and "*" not in quarantine["name"] and quarantine["variant"] == scenario.variant)
    }
    if not failing or not failing <= named or scenario.failures not in (None, len(failing)):
        return False
    cases = {name for upload in scenario.uploads for name in upload}
    if scenario.requested < len(scenario.uploads) or len(cases) < sum(map(len, scenario.uploads)):
        return False
    if scenario.allow_missing_cases:
        return True
    executed = {name for upload in scenario.uploads for name, status in upload.items() if status in EXECUTED}
    expected = {name for name, status in scenario.baseline.items() if status in EXECUTED}
    return bool(expected) and expected <= executed


async def store(api: Api, run_id: str, hour: int, part: str, scenario: Scenario, results: dict[str, str]) -> None:
    listed = [result(name, status) for name, status in results.items()]
    completed_at = f"2026-05-01T{hour:02}:00:00Z"
    stated: dict[str, Any] = {"branch": "main", "completed_at": completed_at, "part": part, "attempt": 1}
    event = run_event(run_id, listed, **stated, final=False, project_id=scenario_project(run_id))
    event["data"]["variant"] = scenario.variant
    (outcome,) = await api.store.ingest(event)
    assert outcome.status == "stored"


def scenario_project(run_id: str) -> str:
    return "shop-" + run_id.partition("_")[2]


async def request_excuse(api: Api, seed: int, scenario: Scenario) -> Any:
    """Store the runs and quarantines of a scenario in a project of its own, and return the excuse."""
    project, run_id = f"shop-{seed}", f"run_{seed}"
    if scenario.baseline:
        await store(api, f"main_{seed}", 1, "unit", scenario, scenario.baseline)
        await api.send("POST", f"/v1/runs/main_{seed}/complete")
    for part, uploads in (("unit", scenario.uploads), ("other", [scenario.other])):
        for upload in uploads:
            await store(api, run_id, 2, part, scenario, upload)
    found = (await api.get("/v1/results", {"run_id": run_id}))["data"]
    cases = {each["name"]: each["case"] for each in found}
    for quarantine in scenario.quarantines:
        fields = {**quarantine, "case": cases.get(quarantine["case"])} if "case" in quarantine else quarantine
        body = {"project_id": project, "reason": "unstable", **fields}
        if fields.get("case", "") is not None:
            response = await api.send("POST", "/v1/quarantines", json=body)
            assert response.status == 201, await response.text()
    receipts = (await api.get("/v1/receipts", {"run_id": run_id}))["data"]
    of_job = sorted(each["id"] for each in receipts if each["part"] == "unit")
    body = {
        "receipts": of_job[: scenario.requested], "failures": scenario.failures,
        "allow_missing_cases": scenario.allow_missing_cases,
    }  # fmt: skip
    response = await api.send("POST", f"/v1/runs/{run_id}/excuses", json=body)
    assert response.status == 201, await response.text()
    return await response.json()


async def check(api: Api, seeds: range) -> int:
    excused = 0
    for seed in seeds:
        scenario = make_scenario(seed)
        excuse = await request_excuse(api, seed, scenario)
        assert excuse["excused"] == is_excused(scenario), (seed, scenario, excuse)
        excused += excuse["excused"]
    return excused


async def test_random_runs_are_excused_exactly_by_the_rules(api: Api) -> None:
    assert 5 <= await check(api, range(60)) <= 50


@pytest.mark.slow
async def test_many_random_runs_are_excused_exactly_by_the_rules(api: Api) -> None:
    assert await check(api, range(100, 400)) > 30
