"""The demo history: runs of the last days that the pages of the console show on a new stack.

The data are generated, not measured. The cases, their durations, and one failure are those of the sample reports in
`reports`. The runs, all other failures, and the variation of durations result from `incidents` and from hashes of run
and case, so every start creates the same history. Each run has the label `data: demo` and a separate
project.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from service.dev.incidents import (
    FIRST_PULL_REQUEST_RUN,
    INCIDENTS,
    INCOMPLETE_RUN,
    MAIN_RUNS,
    PULL_REQUEST_RUN,
    PYTHONS,
    Incident,
)
from service.ingest.contract import AttemptIn, Failure, ResultIn, RunIn

PROJECT: Final = "results-api-demo"
PULL_REQUEST: Final = "128"
LABEL: Final = {"data": "demo"}
CANCELED_RUN: Final = 6

_FIRST_BUILD: Final = 200
_RUN_INTERVAL: Final = timedelta(hours=11, minutes=7)  # 30 runs in 13.4 days
_NEWEST_MAIN_AGE: Final = timedelta(minutes=26)
_OTHER_AGES: Final = {
    FIRST_PULL_REQUEST_RUN: timedelta(minutes=48),
    PULL_REQUEST_RUN: timedelta(minutes=11),
    INCOMPLETE_RUN: timedelta(minutes=2),
}
_REPOSITORY_URL: Final = "https://github.example.com/demo/results-api"
_WORKFLOW: Final = "Checks"
_AUTHORS: Final = ("Amara Osei", "Jonas Lindqvist", "Priya Raman", "Mateo Alvarez")
_TITLES: Final = (
    "Read reports in chunks",
    "Restart components with backoff",
    "Describe the formats of timestamps",
    "Choose ports that no process uses",
    "Count skipped results of a suite",
    "Keep the order of attachments",
    "Stop orphaned processes at the next start",
)
_PULL_REQUEST_FIELDS: Final[dict[str, object]] = {
    "branch": "parse-local-times",
    "base_branch": "main",
    "pull_request": PULL_REQUEST,
    "title": "Parse timestamps without a zone as local times",
    "author": "Jonas Lindqvist",
    "labels": {**LABEL, "trigger": "pull_request"},
}
_SLOWER_SINCE: Final = 16  # the run since which one case becomes slower
_SLOWER_CASE: Final = "test_component_that_cannot_be_launched_does_not_affect_others"
_ADDED_CASE: Final = "test_new_format_needs_only_a_row_and_a_reader"  # only in the pull request
_REMOVED_CASE: Final = "test_checksum_detects_one_changed_character[76]"  # not in the pull request
_MIN_DURATION_MS: Final = 2.0


def run_id_of(number: int) -> str:
    """Return the ID of a run by its number in the history. Numbers start at 1."""
    if number == FIRST_PULL_REQUEST_RUN:
        return f"demo-pull-{PULL_REQUEST}-first"
    if number == PULL_REQUEST_RUN:
        return f"demo-pull-{PULL_REQUEST}"
    return f"demo-main-{_FIRST_BUILD + number}"


def history(sample: Iterable[ResultIn], now: datetime) -> Iterator[tuple[RunIn, list[ResultIn]]]:
    """Yield the runs of the history, oldest first, with the results of all variants."""
    cases = list(sample)
    for number in range(1, INCOMPLETE_RUN + 1):
        results = [result for python in PYTHONS for result in _results(cases, number, python)]
        if number == INCOMPLETE_RUN:
            results = results[: len(results) // 2]
        yield _run(number, results, now), results


def _run(number: int, results: Iterable[ResultIn], now: datetime) -> RunIn:
    build = _FIRST_BUILD + number
    completed_at = now - _age(number)
    run = RunIn(
        run_id=run_id_of(number),
        project_id=PROJECT,
        environment="ci",
        branch="main",
        commit_sha=sha256(f"demo commit {build}".encode()).hexdigest()[:40],
        ci_url=f"https://ci.example.com/demo/builds/{build}",
        pipeline=f"demo-{build}",
        title=_TITLES[number % len(_TITLES)],
        author=_AUTHORS[number % len(_AUTHORS)],
        workflow=_WORKFLOW,
        job_url=f"https://ci.example.com/demo/builds/{build}/jobs/test",
        repository_url=_REPOSITORY_URL,
        labels={**LABEL, "trigger": "push"},
        started_at=completed_at
        - timedelta(milliseconds=sum(result.get("duration_ms") or 0 for result in results) + 4_000),
        completed_at=completed_at,
        notify=False,
    )
    return {**run, **_other_fields(number)}


def _other_fields(number: int) -> RunIn:
    """Return the fields in which a run differs from a completed run of main."""
    fields: dict[int, dict[str, object]] = {
        CANCELED_RUN: {"status": "canceled"},
        INCOMPLETE_RUN: {"expected_shards": len(PYTHONS), "shard": 1},
        **dict.fromkeys((FIRST_PULL_REQUEST_RUN, PULL_REQUEST_RUN), _PULL_REQUEST_FIELDS),
    }
    return fields.get(number, {})  # type: ignore[return-value]


def _age(number: int) -> timedelta:
    """Return the time since the completion of a run."""
    jitter = timedelta(hours=3 * _fraction("age", number))
    return _OTHER_AGES.get(number) or _NEWEST_MAIN_AGE + jitter + (MAIN_RUNS - number) * _RUN_INTERVAL


def _results(cases: list[ResultIn], number: int, python: str) -> Iterator[ResultIn]:
    """Yield the results of one variant of a run."""
    excluded = _REMOVED_CASE if number in (FIRST_PULL_REQUEST_RUN, PULL_REQUEST_RUN) else _ADDED_CASE
    for position, case in enumerate(cases):
        if case["name"] != excluded:
            is_canceled = number == CANCELED_RUN and position > len(cases) // 2
            yield _canceled(case, python) if is_canceled else _result(case, number, python)


def _canceled(case: ResultIn, python: str) -> ResultIn:
    return {**_passed(case, python), "status": "canceled"}


def _result(case: ResultIn, number: int, python: str) -> ResultIn:
    suite, name = case.get("suite") or "", case["name"]
    result = _passed(case, python)
    if case["status"] == "skipped":
        return {**result, "status": "skipped", "duration_ms": 0, "failure": case.get("failure")}
    result["duration_ms"] = _duration_ms(case, number, python)
    incident = next((found for found in INCIDENTS if found.affects(suite, name, python, number)), None)
    return _affected(result, incident, case, number) if incident else result


def _passed(case: ResultIn, python: str) -> ResultIn:
    """Return a passed result of the case. The class of a sample case determines its file."""
    module = (case.get("suite") or "").rpartition(" > ")[2]
    file = f"{module.replace('.', '/')}.py"
    variant = {"python": python}
    return {"suite": case.get("suite"), "name": case["name"], "file": file, "variant": variant, "status": "passed"}


def _affected(result: ResultIn, incident: Incident, case: ResultIn, number: int) -> ResultIn:
    """Return the result of a case that an incident affects."""
    failure = _failure(incident, case, number)
    if incident.flaky:
        duration_ms = (result.get("duration_ms") or 0) / 2
        failed: AttemptIn = {"status": incident.status, "duration_ms": duration_ms, "failure": failure}
        return {**result, "attempts": [failed, {"status": "passed", "duration_ms": duration_ms}]}
    properties = {"owner": "runtime-team"} if "tests.dev." in (result.get("suite") or "") else {}
    return {**result, "status": incident.status, "failure": failure, "properties": properties}


def _failure(incident: Incident, case: ResultIn, number: int) -> Failure | None:
    if incident.text is None:
        return case.get("failure")
    fraction = _fraction("failure", number, case["name"])
    return incident.text.fill(number=int(200 + 700 * fraction), port=int(32_768 + 28_000 * fraction), run=number)


def _duration_ms(case: ResultIn, number: int, python: str) -> float:
    """Return the duration in the sample report, varied by up to 20 %. Sample durations under 2 ms are replaced."""
    base = case.get("duration_ms") or 0
    if base < _MIN_DURATION_MS:
        base = _MIN_DURATION_MS + 10 * _fraction("base", case.get("suite"), case["name"]) ** 3
    if case["name"] == _SLOWER_CASE and number >= _SLOWER_SINCE:
        base *= 1.06 ** (number - _SLOWER_SINCE)
    slowness = 1.2 if python == PYTHONS[0] else 1.0
    return round(base * slowness * (0.8 + 0.4 * _fraction("duration", number, python, case["name"])), 1)


def _fraction(*parts: object) -> float:
    """Return a number from 0 to 1 that only depends on the parts."""
    return int.from_bytes(sha256(repr(parts).encode()).digest()[:4]) / 2**32
