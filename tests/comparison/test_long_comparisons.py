"""Comparisons of many failures with many globs don't delay the other requests of the process."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from service.comparison.model import WINDOW_RUNS
from service.database.database import as_organization
from service.domain.ids import new_id
from service.quarantines import find_excused
from tests.event_loops import short_steps
from tests.run_events import result, run_event
from tests.served import Api

pytestmark = pytest.mark.slow

CASES = 300
INSERT = (
    "INSERT INTO quarantines (org_id, quarantine_id, project_id, name, reason, expires_at, created_by)"
    " VALUES ($1, $2, 'shop', $3, 'unstable', now() + interval '1 day', 'key_a')"
)
POLICY = {"policy": {"max_failures": 0}}


async def quarantine(api: Api, *globs: str) -> None:
    async with as_organization(api.resources.pool, api.org_id) as connection:
        await connection.executemany(INSERT, [(api.org_id, new_id("qua"), glob) for glob in globs])


async def test_large_comparison_runs_in_short_steps(api: Api) -> None:
    failures = [result(f"test_{number}_checks_out", "failed", case_id=None) for number in range(15_000)]
    for hour, run_id in enumerate(("main", "run_1"), 1):
        await api.store.ingest(run_event(run_id, failures, branch="main", completed_at=f"2026-05-01T{hour:02}:00:00Z"))
    await quarantine(api, *(f"test_payment_{number}_*" for number in range(100)))
    async with short_steps():
        comparison = await api.get("/v1/runs/run_1/comparison", {"limit": "1"})
        decision = await (await api.send("POST", "/v1/runs/run_1/decisions", json=POLICY)).json()
    assert comparison["counts"]["known_failure"] == decision["failures"]["known"] == 15_000


async def test_evidence_of_many_failures_is_found_in_short_steps(api: Api) -> None:
    """A case that fails in every other run has the most possible segments."""
    names = [f"test_{number}_checks_out" for number in range(CASES)]
    started = datetime(2026, 5, 1, tzinfo=UTC)
    for hour in range(WINDOW_RUNS + 1):
        results = [
            result(name, "failed" if (hour + number) % 2 or hour == WINDOW_RUNS else "passed")
            for number, name in enumerate(names)
        ]
        completed_at = (started + timedelta(hours=hour)).isoformat()
        await api.store.ingest(run_event(f"run_{hour}", results, branch="main", completed_at=completed_at))
    async with short_steps():
        comparison = await api.get(f"/v1/runs/run_{WINDOW_RUNS}/comparison", {"limit": "1"})
    assert comparison["data"][0]["evidence"]["runs"] == WINDOW_RUNS


async def test_slow_globs_delay_no_other_request(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [result(f"{'a' * 900}_{number}", "failed", case_id=None) for number in range(4_000)]
    await api.store.ingest(run_event("run_1", failures))
    await quarantine(api, *(f"*{'a?' * (150 + number)}b*" for number in range(20)))
    monkeypatch.setattr(find_excused, "_BUDGET_S", 0.5)
    async with short_steps():
        deciding = asyncio.create_task(api.send("POST", "/v1/runs/run_1/decisions", json=POLICY))
        healthy = 0
        while not deciding.done():
            healthy += (await api.http.get("/healthz")).status == 200
        assert (await deciding).status == 503
    assert healthy > 20
