"""A run with one result of each change, the earlier runs of its branch, and decisions about it."""

from typing import Any

from tests.console.browsers import RUNS, Browser
from tests.run_events import result, run_event

RUN = f"{RUNS}/run_4"
MESSAGE = {"type": "AssertionError", "message": "expected 1, got 2 <b>"}


def failing(name: str, **fields: Any) -> dict[str, Any]:
    return result(name, "failed", failure=MESSAGE, **fields)


def event(number: int, failed: str, passed: str, *, retried: str = "", **run: Any) -> dict[str, Any]:
    attempts = [{"status": "failed"}, {"status": "passed"}]
    results = [*map(failing, failed.split()), *map(result, passed.split())]
    results += [result(name, attempts=attempts) for name in retried.split()]
    time = f"2026-05-20T1{number}:00:00Z"
    return run_event(f"run_{number}", results, time=time, branch="main", **run)


async def ingest_history(browser: Browser) -> None:
    """Store three runs of main, and run_4, which has one result of each change."""
    api = browser.api
    await api.store.ingest(
        event(1, "unstable", "breaks fails excused repaired gone"),
        event(2, "fails", "breaks excused repaired gone", retried="unstable"),
        event(3, "fails repaired", "breaks excused unstable gone"),
    )
    quarantine = {"project_id": "shop", "suite": "auth.*", "name": "excused", "reason": "ticket is open"}
    assert (await api.send("POST", "/v1/quarantines", json=quarantine)).status == 201
    await api.store.ingest(event(4, "breaks fails unstable excused", "repaired starts"))


async def put_gate(browser: Browser, name: str = "release", **policy: Any) -> None:
    response = await browser.api.send("PUT", f"/v1/gates/{name}", json={"policy": policy or {"max_new_failures": 0}})
    assert response.status in (200, 201)


async def decide(browser: Browser, gate: str = "release") -> dict[str, Any]:
    response = await browser.api.send("POST", "/v1/runs/run_4/decisions", json={"gate": gate})
    decision: dict[str, Any] = await response.json()
    return decision
