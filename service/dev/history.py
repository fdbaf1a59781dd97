"""The demo history: runs of the last days that the pages of the console show on a new stack.

The cases and their durations come from the sample reports in `reports`. `history.toml` records the results that differ
from the sample. The runs weren't measured: durations vary with hashes of run and case, so every start creates the same
history. Each run has the label `data: demo` and belongs to a separate project.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

from service.ingest.contract import AttemptIn, Failure, ResultIn, RunIn

PROJECT: Final = "results-api-demo"
MAIN_RUNS: Final = 30
FIRST_PULL_REQUEST_RUN: Final = MAIN_RUNS + 1
PULL_REQUEST_RUN: Final = MAIN_RUNS + 2
INCOMPLETE_RUN: Final = MAIN_RUNS + 3
QUARANTINED_CASE: Final = "test_child_that_outlived_its_parent_is_stopped_by_the_next_start"
NEW_FAILURE: Final = "test_failed_start_reports_the_last_log_lines"

_RECORDED: Final = Path(__file__).with_name("history.toml")
_PYTHONS: Final = ("3.11", "3.13")
_FIRST_BUILD: Final = 200
_RUN_INTERVAL: Final = timedelta(hours=11, minutes=7)  # 30 runs in 13.4 days
_NEWEST_MAIN_AGE: Final = timedelta(minutes=26)
_OTHER_AGES: Final = {
    FIRST_PULL_REQUEST_RUN: timedelta(minutes=48),
    PULL_REQUEST_RUN: timedelta(minutes=11),
    INCOMPLETE_RUN: timedelta(minutes=2),
}
_AUTHORS: Final = ("Amara Osei", "Jonas Lindqvist", "Priya Raman", "Mateo Alvarez")
_TITLES: Final = (
    "Read reports in chunks", "Restart components with backoff", "Describe the formats of timestamps",
    "Choose ports that no process uses", "Count skipped results of a suite", "Keep the order of attachments",
    "Stop orphaned processes at the next start",
)  # fmt: skip
_PULL_REQUEST: Final = {
    "branch": "parse-local-times", "base_branch": "main", "pull_request": "128",
    "title": "Parse timestamps without a zone as local times", "author": "Jonas Lindqvist",
    "labels": {"data": "demo", "trigger": "pull_request"},
}  # fmt: skip
_OTHER_FIELDS: Final[Mapping[int, Mapping[str, Any]]] = {  # in which a run differs from a completed run of main
    6: {"status": "canceled"},
    FIRST_PULL_REQUEST_RUN: _PULL_REQUEST,
    PULL_REQUEST_RUN: _PULL_REQUEST,
    INCOMPLETE_RUN: {"expected_shards": len(_PYTHONS), "shard": 1},
}
_SLOWER_CASE: Final = "test_component_that_cannot_be_launched_does_not_affect_others"
_SLOWER_SINCE: Final = 16  # the number of a run
_MIN_DURATION_MS: Final = 2.0


class RecordedRow(NamedTuple):
    """The outcomes of some cases, with one character for each run, as `history.toml` describes them."""

    case: str
    python: str
    outcomes: str
    failure: str = ""

    def is_of(self, name: str, python: str, number: int) -> bool:
        """Return whether a case, by its module and name, has another outcome in this run than in the sample report."""
        return self.outcomes[number - 1] != "." and name.startswith(self.case) and python.startswith(self.python)


class RecordedHistory(NamedTuple):
    """The content of `history.toml`."""

    rows: list[RecordedRow]
    failures: dict[str, Failure]


def read_recorded() -> RecordedHistory:
    """Return the recorded outcomes and failures."""
    document = tomllib.loads(_RECORDED.read_text(encoding="utf-8"))
    return RecordedHistory([RecordedRow(*row) for row in document["outcomes"]], document["failures"])


def run_id_of(number: int) -> str:
    """Return the ID of a run by its number in the history. Numbers start at 1."""
    names = {FIRST_PULL_REQUEST_RUN: "pull-128-first", PULL_REQUEST_RUN: "pull-128"}
    return f"demo-{names.get(number, f'main-{_FIRST_BUILD + number}')}"


def history(sample: Iterable[ResultIn], now: datetime) -> Iterator[tuple[RunIn, list[ResultIn]]]:
    """Yield the runs of the history, oldest first, with the results of all variants."""
    cases, recorded = list(sample), read_recorded()
    for number in range(1, INCOMPLETE_RUN + 1):
        pythons = _PYTHONS[:1] if number == INCOMPLETE_RUN else _PYTHONS
        results = [result for python in pythons for case in cases for result in _find(recorded, case, number, python)]
        yield _run(number, results, now), results


def _run(number: int, results: Iterable[ResultIn], now: datetime) -> RunIn:
    build = _FIRST_BUILD + number
    jitter = timedelta(hours=3 * _fraction("age", number))
    age = _OTHER_AGES.get(number) or _NEWEST_MAIN_AGE + jitter + (MAIN_RUNS - number) * _RUN_INTERVAL
    duration = timedelta(milliseconds=sum(result.get("duration_ms") or 0 for result in results) + 4_000)
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
        workflow="Checks",
        job_url=f"https://ci.example.com/demo/builds/{build}/jobs/test",
        repository_url="https://github.example.com/demo/results-api",
        labels={"data": "demo", "trigger": "push"},
        started_at=now - age - duration,
        completed_at=now - age,
        notify=False,
    )
    return {**run, **_OTHER_FIELDS.get(number, {})}  # type: ignore[typeddict-item]


def _find(recorded: RecordedHistory, case: ResultIn, number: int, python: str) -> Iterator[ResultIn]:
    """Yield the result of a case, unless the run doesn't contain the case."""
    module = (case.get("suite") or "").rpartition(" > ")[2]
    name = f"{module}.{case['name']}"
    row = next((row for row in recorded.rows if row.is_of(name, python, number)), None)
    outcome = row.outcomes[number - 1] if row else ""
    failure = recorded.failures.get(row.failure, case.get("failure")) if row else None
    duration_ms = _duration_ms(case, number, python)
    result: ResultIn = {
        "suite": case.get("suite"), "name": case["name"], "file": f"{module.replace('.', '/')}.py",
        "variant": {"python": python}, "status": "passed", "duration_ms": duration_ms,
    }  # fmt: skip
    if outcome == "C":
        yield {**result, "status": "canceled", "duration_ms": None}
    elif case["status"] == "skipped":
        yield {**result, "status": "skipped", "duration_ms": 0, "failure": case.get("failure")}
    elif outcome == "f":
        failed: AttemptIn = {"status": "failed", "duration_ms": duration_ms / 2, "failure": failure}
        yield {**result, "attempts": [failed, {"status": "passed", "duration_ms": duration_ms / 2}]}
    elif outcome in ("F", "E"):
        properties = {"owner": "runtime-team"} if module.startswith("tests.dev.") else {}
        status: Final = "failed" if outcome == "F" else "error"
        yield {**result, "status": status, "failure": failure, "properties": properties}
    elif outcome != "-":
        yield result


def _duration_ms(case: ResultIn, number: int, python: str) -> float:
    """Return the duration in the sample report, varied by up to 20 %. Sample durations under 2 ms are replaced."""
    base = case.get("duration_ms") or 0
    if base < _MIN_DURATION_MS:
        base = _MIN_DURATION_MS + 10 * _fraction("base", case.get("suite"), case["name"]) ** 3
    if case["name"] == _SLOWER_CASE and number >= _SLOWER_SINCE:
        base *= 1.06 ** (number - _SLOWER_SINCE)
    slowness = 1.2 if python == _PYTHONS[0] else 1.0
    return round(base * slowness * (0.8 + 0.4 * _fraction("duration", number, python, case["name"])), 1)


def _fraction(*parts: object) -> float:
    """Return a number from 0 to 1 that only depends on the parts."""
    return int.from_bytes(sha256(repr(parts).encode()).digest()[:4]) / 2**32
