"""The backtest of the rules: stored runs of pull requests, judged by the rules of version 2 and by the current ones.

Version 2 called a failure known if the newest executed result of its case had failed, and flaky if at least 2 of its
executed results in the newest 20 runs of the base branch had failed or were flaky. Quarantines are left out.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from service.comparison import store
from service.comparison.compare_runs import ComparedRuns, find_compared, find_past
from service.comparison.model import MAX_SEARCHED_CASES, RECENT_RUNS, BaselineChoice
from service.comparison.store import ReplayedRun
from service.database.database import Connection
from service.database.transactions import reading_snapshot
from service.domain.errors import Gone, NotFound
from service.domain.ids import CaseKey, OrgId
from service.evidence.model import FailureChange, find_outcome
from service.projects import store as projects_store
from service.results.model import FAILING_CODES
from service.runs.store import RunSelector

_UNRELIABLE: Final = 2  # bad results of version 2

Changes = Mapping[CaseKey, FailureChange]


@dataclass(slots=True)
class JudgedRuns:
    """What rules did to the runs of pull requests.

    `blocked` are the runs with a new failure, and `blocked_last` those of them that are the last run of their pull
    request. `excused` are the failures of last runs that the rules called flaky. An excused failure was *real* if its
    case failed in all attempts in the next run of the base branch, and is *unverified* if this run has no result of the
    case or is an outage.
    """

    new: int = 0
    flaky: int = 0
    known: int = 0
    blocked: int = 0
    blocked_last: set[str] = field(default_factory=set)
    excused: int = 0
    real: int = 0
    unverified: int = 0

    def add(self, run: ReplayedRun, changes: Changes) -> None:
        """Count the failures of a run."""
        counts = Counter(changes.values())
        self.new += counts["new_failure"]
        self.flaky += counts["flaky_failure"]
        self.known += counts["known_failure"]
        self.blocked += counts["new_failure"] > 0
        if run.is_last and counts["new_failure"]:
            self.blocked_last.add(run.run_id)

    def verify(self, changes: Changes, later: Mapping[CaseKey, str]) -> None:
        """Count the excused failures of a last run. `later` are the status codes in the next run of the base branch."""
        for case, change in changes.items():
            if change == "flaky_failure":
                self.excused += 1
                self.real += later.get(case, "") in FAILING_CODES
                self.unverified += case not in later


@dataclass(slots=True)
class Backtest:
    """What both versions of the rules did. `changed` counts the failures of which the change differs.

    A run is `not_compared` if there is no earlier run of its base branch, or if its results have expired meanwhile.
    """

    runs: int = 0
    not_compared: int = 0
    changed: Counter[tuple[FailureChange, FailureChange]] = field(default_factory=Counter)
    before: JudgedRuns = field(default_factory=JudgedRuns)
    now: JudgedRuns = field(default_factory=JudgedRuns)

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        return {
            "runs": self.runs,
            "not_compared": self.not_compared,
            "changed": [
                {"before": before, "now": now, "failures": count}
                for (before, now), count in sorted(self.changed.items())
            ],
            "rules": {"version_2": _to_json(self.before), "current": _to_json(self.now)},
            "pull_requests_that_would_pass": sorted(self.before.blocked_last - self.now.blocked_last),
            "pull_requests_that_would_be_blocked": sorted(self.now.blocked_last - self.before.blocked_last),
        }


def _to_json(judged: JudgedRuns) -> dict[str, int]:
    return {
        "new_failures": judged.new, "flaky_failures": judged.flaky, "known_failures": judged.known,
        "blocked_runs": judged.blocked, "blocked_pull_requests": len(judged.blocked_last),
        "excused_failures": judged.excused, "excused_real": judged.real, "excused_unverified": judged.unverified,
    }  # fmt: skip


async def find_replayed(
    connection: Connection, org_id: OrgId, project_id: str | None, days: int
) -> Sequence[ReplayedRun]:
    """Return the complete, failing runs of pull requests in the days before the newest run, oldest first.

    Raises NotFound for an unknown project.
    """
    if project_id is not None and await projects_store.find_one(connection, org_id, project_id) is None:
        raise NotFound(f"project {project_id[:100]!r} not found")
    return await store.find_replayed(connection, org_id, project_id, days)


async def replay(
    connection: Connection, org_id: OrgId, runs: Sequence[ReplayedRun], on_run: Callable[[], object]
) -> Backtest:
    """Judge the failures of each run by both versions of the rules. Each run is read in a snapshot of its own."""
    backtest = Backtest()
    for run in runs:
        async with reading_snapshot(connection):
            await _replay_run(connection, org_id, run, backtest)
        on_run()
    return backtest


async def _replay_run(connection: Connection, org_id: OrgId, run: ReplayedRun, backtest: Backtest) -> None:
    try:
        compared = await find_compared(connection, org_id, RunSelector(run.run_id, run.project_id), BaselineChoice())
    except (NotFound, Gone):  # deleted or expired meanwhile
        backtest.not_compared += 1
        return
    if not compared.window.runs:
        backtest.not_compared += 1
        return
    failing = (await store.find_failing(connection, org_id, run.run_key))[:MAX_SEARCHED_CASES]
    before = await _judge_by_version_2(connection, org_id, compared, failing)
    past = await find_past(connection, org_id, compared, failing, is_searched=True)
    now = {case: past.judge(case)[0] for case in failing}
    backtest.runs += 1
    backtest.changed.update((before[case], now[case]) for case in failing if before[case] != now[case])
    later = await _find_later(connection, org_id, compared, failing) if run.is_last else {}
    for judged, changes in ((backtest.before, before), (backtest.now, now)):
        judged.add(run, changes)
        if run.is_last:
            judged.verify(changes, later)


async def _judge_by_version_2(
    connection: Connection, org_id: OrgId, compared: ComparedRuns, failing: Sequence[CaseKey]
) -> Changes:
    window = [run.run_key for run in compared.window.runs[:RECENT_RUNS]]
    by_run = await store.find_history(connection, org_id, window, failing)
    changes: dict[CaseKey, FailureChange] = {}
    for case in failing:
        results = [by_run[key][case] for key in window if case in by_run.get(key, {})]
        outcomes = [outcome for status, flaky in results if (outcome := find_outcome(status, flaky=flaky))]
        changes[case] = judge_by_version_2("".join(outcomes))
    return changes


def judge_by_version_2(outcomes: str) -> FailureChange:
    """Return the change of a failure by the results of its case in the newest 20 runs, newest first."""
    if outcomes.startswith("f"):
        return "known_failure"
    return "flaky_failure" if len(outcomes) - outcomes.count("p") >= _UNRELIABLE else "new_failure"


async def _find_later(
    connection: Connection, org_id: OrgId, compared: ComparedRuns, cases: Sequence[CaseKey]
) -> dict[CaseKey, str]:
    """Return the status codes of the executed results of some cases in the next run of the base branch.

    There are none if the run is an outage, which says nothing about its cases.
    """
    branch = compared.window.runs[0].branch or ""
    run = await store.find_next(connection, org_id, compared.run, branch)
    if run is None or run.is_outage:
        return {}
    by_run = await store.find_history(connection, org_id, [run.run_key], cases)
    results = by_run.get(run.run_key, {}).items()
    return {case: status for case, (status, flaky) in results if find_outcome(status, flaky=flaky)}
