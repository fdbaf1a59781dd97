"""A pull request after 25 runs on main in which every change occurs, through events and through reports."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.evidence.oracle import expected_judgment
from tests.report_api import Reports, serving_reports_with_ingester
from tests.run_events import result, run_event

Send = Callable[[Reports, dict[str, Any]], Awaitable[None]]

RUNS = 25
STATUSES = {"p": "passed", "f": "failed", "e": "error", "s": "skipped", "c": "canceled"}
FAILING = ("f", "e")
EVIDENCE = ("runs", "failed", "flaky", "failing_since_run_id", "last_passed_run_id")
ORDER = ["new_failure", "flaky_failure", "known_failure", "quarantined", "fixed", "added", "removed", "unchanged"]

# The results of a case in the runs on main, oldest first, and in the pull request. "F" is flaky, and "." is no result.
# The last values are the change and, for a failure, its evidence.
CASES: dict[str, tuple[str, str, str, Any]] = {
    "new": ("p" * 25, "f", "new_failure", (25, 0, 0, None, "main_25")),
    "failed_once": ("p" * 9 + "f" + "p" * 15, "e", "new_failure", (25, 1, 0, None, "main_25")),
    "repaired": ("f" * 5 + "p" * 20, "f", "new_failure", (20, 0, 0, None, "main_25")),
    "never_executed": ("." * 20 + "s" * 5, "f", "new_failure", (0, 0, 0, None, None)),
    "failed_twice": ("p" * 7 + "f" + "p" * 11 + "e" + "p" * 5, "f", "flaky_failure", (25, 2, 0, None, "main_25")),
    "flaky_twice": ("p" * 7 + "F" + "p" * 16 + "F", "f", "flaky_failure", (25, 0, 2, None, "main_25")),
    "known": ("p" * 11 + "f" * 14, "f", "known_failure", (14, 14, 0, "main_12", "main_11")),
    "always_failing": ("f" * 25, "e", "known_failure", (25, 25, 0, "main_1", None)),
    "skipped_since": ("p" * 18 + "fe" + "s" * 5, "f", "known_failure", (20, 2, 0, "main_19", "main_18")),
    "quarantined": ("p" * 25, "f", "quarantined", (25, 0, 0, None, "main_25")),
    "fixed": ("p" * 24 + "f", "p", "fixed", None),
    "fixed_error": ("p" * 24 + "e", "F", "fixed", None),
    "added": ("p" * 24 + ".", "p", "added", None),
    "added_skipped": ("." * 25, "s", "added", None),
    "removed": ("p" * 25, ".", "removed", None),
    "removed_failure": ("p" * 24 + "f", ".", "removed", None),
    "fixed_on_main": ("f" * 24 + "p", "p", "unchanged", None),
    "no_longer_executed": ("f" * 25, "s", "unchanged", None),
    "skipped": ("s" * 25, "s", "unchanged", None),
}


def seeded_cases() -> dict[str, tuple[str, str, str, Any]]:
    """Return cases with random results, and their change by a second implementation of the rules."""
    rng = random.Random(13)
    cases = {}
    for number in range(60):
        weights = rng.choice(([20, 1, 1, 1, 1, 1, 1], [3, 3, 1, 1, 1, 1, 1]))
        cases[f"seeded {number}"] = ("".join(rng.choices("pfesFc.", weights, k=RUNS)), rng.choice("pppfesF."))
    cases = {name: case for name, case in cases.items() if case[0][-1] != "." or case[1] != "."}
    by_run = list(zip(*(case[0] for case in (*CASES.values(), *cases.values())), strict=True))[::-1]
    mass_failures = [is_mass_failure("".join(letters)) for letters in by_run]
    return {name: (*case, *expected_change(*case, mass_failures)) for name, case in cases.items()}


def is_mass_failure(letters: str) -> bool:
    failed = letters.count("f") + letters.count("e")
    executed = failed + letters.count("p") + letters.count("F")
    assert failed / executed <= 0.8, "an outage"
    return failed >= 20 and failed / executed >= 0.2


def expected_change(history: str, status: str, mass_failures: Sequence[bool]) -> tuple[str, Any]:
    if status not in FAILING:
        if status == ".":
            return "removed", None
        fixed = status in "pF" and history[-1] in FAILING
        return "added" if history[-1] == "." else "fixed" if fixed else "unchanged", None
    found = expected_judgment(history[::-1], lambda index: mass_failures[index])
    runs = [None if index is None else f"main_{RUNS - index}" for index in (found.failing_since, found.last_passed)]
    return found.change, (found.runs, found.failed, found.flaky, *runs)


def of_letter(name: str, letter: str) -> Any:
    attempts = [{"status": "failed"}, {"status": "passed"}]
    return result(name, **({"attempts": attempts} if letter == "F" else {"status": STATUSES[letter]}))


def of_run(run_id: str, hour: int, results: dict[str, str], **fields: Any) -> dict[str, Any]:
    listed = [of_letter(name, letter) for name, letter in results.items() if letter != "."]
    completed_at = f"2026-05-{10 + hour // 24:02}T{hour % 24:02}:00:00Z"
    return run_event(run_id, listed, **{"completed_at": completed_at, "branch": "main"} | fields)


async def send_event(reports: Reports, event: dict[str, Any]) -> None:
    outcomes = await reports.api.store.ingest(event)
    assert [outcome.status for outcome in outcomes] == ["stored"]


async def send_report(reports: Reports, event: dict[str, Any]) -> None:
    fields = {name: value for name, value in event["data"]["run"].items() if name not in ("run_id", "project_id")}
    body = orjson.dumps({"run": fields, "results": event["data"]["results"]})
    receipt = await reports.ingest(body, event["data"]["run"]["run_id"], Content_Type="application/json")
    assert receipt["status"] == "stored", receipt


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports_with_ingester(database_url, tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("send", [send_event, pytest.param(send_report, marks=pytest.mark.slow)])
async def test_changes_of_a_pull_request(reports: Reports, send: Send) -> None:
    cases = CASES | seeded_cases()
    for number in range(1, RUNS + 1):
        await send(
            reports, of_run(f"main_{number}", number, {name: case[0][number - 1] for name, case in cases.items()})
        )
    pull_request = {"branch": "topic", "base_branch": "main", "pull_request": "7"}
    await send(reports, of_run("pr", 30, {name: case[1] for name, case in cases.items()}, **pull_request))
    api = reports.api
    created = await api.send(
        "POST", "/v1/quarantines", json={"project_id": "shop", "name": "quarantin?d", "reason": "issue 7"}
    )
    quarantine_id = (await created.json())["id"]

    every = [("change", change) for change in ORDER]
    items = await api.list_all("/v1/runs/pr/comparison", [*every, ("limit", "25")])
    changes = {item["name"]: item["change"] for item in items}
    assert changes == {name: case[2] for name, case in cases.items()}
    assert set(changes.values()) == set(ORDER)
    assert [item["change"] for item in items] == sorted(changes.values(), key=ORDER.index)
    for item in items:
        history, _, _, evidence = cases[item["name"]]
        assert (item["evidence"] and tuple(map(item["evidence"].get, EVIDENCE))) == evidence, item["name"]
        assert item["baseline_status"] == STATUSES.get(history[-1].replace("F", "p")), item["name"]
        assert item["quarantine_id"] == (quarantine_id if item["name"] == "quarantined" else None)
    body = await api.get("/v1/runs/pr/comparison")
    assert body["baseline"]["run_id"] == "main_25"
    assert body["counts"] == {change: list(changes.values()).count(change) for change in ORDER}

    await api.send("PUT", "/v1/gates/default", json={"policy": {"max_new_failures": 0}})
    decision = await (await api.send("POST", "/v1/runs/pr/decisions", json={"gate": "default"})).json()
    assert (decision["decision"], decision["baseline_run_id"]) == ("blocked", "main_25")
    assert decision["failures"] == {
        "new": body["counts"]["new_failure"], "known": body["counts"]["known_failure"],
        "flaky": body["counts"]["flaky_failure"], "quarantined": 1,
    }  # fmt: skip
    await send(reports, of_run("main_25", 25, {"new": "f"}, time="2026-06-01T00:00:00Z"))
    await send(reports, of_run("pr", 30, {"late": "f"}, **pull_request, shard=2))
    later = {item["name"]: item["change"] for item in await api.list_all("/v1/runs/pr/comparison", every)}
    assert (later["new"], later["late"]) == ("known_failure", "new_failure")
    assert await api.get(f"/v1/decisions/{decision['id']}") == decision
    changed = await api.send("POST", "/v1/runs/pr/decisions", json={"gate": "default"})
    assert changed.status == 201
