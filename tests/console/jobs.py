"""Runs of several CI jobs, of which the newest one lacks jobs and has a job that passed only in its second attempt."""

from typing import Any, NamedTuple

from tests.run_events import run_event
from tests.served import Api

_BRANCH = "jobs"
_FAILURE = {
    "type": "TimeoutError",
    "message": "the checkout didn't load within 5 s",
    "details": "tests/checkout.spec.ts:41:11\n  waiting for the button Pay",
}


class JobRuns(NamedTuple):
    """The ID of the run that lacks jobs, and its flaky result."""

    missing_run_id: str
    rerun: Any


async def ingest_jobs(api: Api, prefix: str, jobs: list[str], **fields: Any) -> JobRuns:
    """Store a complete run, and one in which only the first job sent results. `fields` are those of each run."""
    base, run_id = f"{prefix} jobs base"[:200], f"{prefix} jobs"[:200]
    for job in jobs:
        await _ingest(api, base, _results(job), fields, part=job, attempt=1)
    await _ingest(api, run_id, _results(jobs[0], "failed"), fields, part=jobs[0], attempt=1)
    await _ingest(api, run_id, _results(jobs[0]), fields, part=jobs[0], attempt=2)
    query = {"run_id": run_id, "flaky": "true"}
    (flaky,) = (await api.get("/v1/results", query))["data"]
    for name in ("stdout.txt", "stderr (attempt 2).txt"):
        await api.attach(flaky["id"], name, b"GET /checkout\nno response within 5 s\n")
    return JobRuns(run_id, flaky)


async def _ingest(api: Api, run_id: str, results: list[Any], fields: dict[str, Any], **part: Any) -> None:
    run = {**fields, "branch": _BRANCH, "base_branch": _BRANCH, **part}
    [outcome] = await api.store.ingest(run_event(run_id, results, time=None, **run))
    assert outcome.reason is None, outcome


def _results(job: str, status: str = "passed") -> list[dict[str, Any]]:
    names = ("pays with a card", "pays with a voucher", "shows the receipt")
    first, *others = [
        {"suite": f"{job} checkout"[:200], "name": name, "file": "tests/checkout.spec.ts", "duration_ms": 900}
        for name in names
    ]
    failure = {"failure": _FAILURE} if status == "failed" else {}
    return [{**first, "status": status, **failure}, *({**other, "status": "passed"} for other in others)]
