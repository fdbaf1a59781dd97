"""The backtest of the rules: stored runs of pull requests, judged by the rules of version 2 and by the current ones.

Version 2 called a failure known if the newest executed result of its case had failed, and flaky if at least 2 of its
executed results in the newest 20 runs of the base branch had failed or were flaky. Quarantines are left out.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from service.comparison import store
from service.comparison.compare_runs import ComparedRuns, find_compared, find_past
from service.comparison.contract import BacktestQuery, JudgedFailures, ReplayedRunOut
from service.comparison.model import MAX_SEARCHED_CASES, RECENT_RUNS, BaselineChoice
from service.comparison.store import ReplayedRun
from service.database.database import Connection, Pool, as_organization
from service.database.transactions import reading_snapshot
from service.domain.cursors import CursorCodec, Cursors
from service.domain.errors import Gone, NotFound
from service.domain.ids import CaseKey, OrgId, RunKey, case_public_id, completed_ms, first_run_key
from service.domain.timestamps import format_ms
from service.evidence.model import FailureChange, find_outcome
from service.identity.keys.model import Caller
from service.projects.operations import read_project
from service.results.model import FAILING_CODES
from service.runs.store import RunSelector

_UNRELIABLE: Final = 2  # bad results of version 2
_DAY_MS: Final = 24 * 3_600 * 1_000
MAX_PAGE_S: Final = 1.0  # then the page ends early
_CODEC: Final = CursorCodec[RunKey](lambda key: key.bytes, lambda data: RunKey(UUID(bytes=data)))

Changes = Mapping[CaseKey, FailureChange]


class ReplayedDays(NamedTuple):
    """The days before the newest run, as times in ms since 1970."""

    first_ms: int
    newest_ms: int

    @classmethod
    def before(cls, newest_ms: int, days: int) -> "ReplayedDays":
        """Return the days before the newest run."""
        return cls(newest_ms - days * _DAY_MS, newest_ms)

    def progress(self, reached_ms: int) -> float:
        """Return the share of the days before a time."""
        return round((reached_ms - self.first_ms) / (self.newest_ms - self.first_ms), 4)


class BacktestPage(NamedTuple):
    """Replayed runs, oldest first, the share of the range that was replayed, and the cursor of the next page."""

    runs: Sequence[ReplayedRunOut]
    progress: float
    next_cursor: str | None


async def replay_runs(pool: Pool, caller: Caller, project_id: str, query: BacktestQuery) -> BacktestPage:
    """Judge the failures of stored runs of pull requests by both versions of the rules.

    A page ends early if it takes long. Raises NotFound for an unknown project, and InvalidRequest for a cursor of
    another list.
    """
    cursors = Cursors(_CODEC, "backtest", caller.org_id, {"project_id": project_id, "days": query.days})
    after = cursors.read(query.starting_after)
    deadline, replayed = time.monotonic() + MAX_PAGE_S, list[ReplayedRunOut]()
    async with as_organization(pool, caller.org_id) as connection:
        await read_project(connection, caller, project_id)
        newest = await store.find_newest(connection, caller.org_id, project_id)
        if newest is None:
            return BacktestPage((), 1.0, None)
        days = ReplayedDays.before(completed_ms(newest), query.days)
        first = first_run_key(days.first_ms)
        start = first if after is None else max(after, first)
        runs = await store.find_replayed(connection, caller.org_id, project_id, start, query.limit + 1)
        for run in runs[: query.limit]:
            async with reading_snapshot(connection):
                replayed.append(await _replay_run(connection, caller.org_id, project_id, run))
            if time.monotonic() > deadline:
                break
    if len(replayed) == len(runs):
        return BacktestPage(replayed, 1.0, None)
    last = runs[len(replayed) - 1].run_key
    return BacktestPage(replayed, days.progress(completed_ms(last)), cursors.write(last))


async def _replay_run(connection: Connection, org_id: OrgId, project_id: str, run: ReplayedRun) -> ReplayedRunOut:
    try:
        compared = await find_compared(connection, org_id, RunSelector(run.run_id, project_id), BaselineChoice())
    except (NotFound, Gone):  # deleted or expired meanwhile
        return _write(run, {}, {}, None, is_compared=False)
    if not compared.window.runs:
        return _write(run, {}, {}, None, is_compared=False)
    failing = (await store.find_failing(connection, org_id, run.run_key))[:MAX_SEARCHED_CASES]
    before = await _judge_by_version_2(connection, org_id, compared, failing)
    past = await find_past(connection, org_id, compared, failing, is_searched=True)
    now = {case: past.judge(case)[0] for case in failing}
    later = await _find_later(connection, org_id, compared, failing) if run.is_last else None
    return _write(run, before, now, later, is_compared=True)


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


def _write(
    run: ReplayedRun, before: Changes, now: Changes, later: Mapping[CaseKey, str] | None, *, is_compared: bool
) -> ReplayedRunOut:
    """Return the public object of a replayed run. `later` are the results of the next run of the base branch."""
    changed = Counter((before[case], now[case]) for case in before if before[case] != now[case])
    return {
        "run_id": run.run_id,
        "pull_request": run.pull_request,
        "is_last": run.is_last,
        "completed_at": format_ms(completed_ms(run.run_key)),
        "failed_cases": list(map(case_public_id, now)),
        "compared": is_compared,
        "version_2": _count(before, later),
        "current": _count(now, later),
        "changed": [
            {"before": old, "now": new, "failures": failures} for (old, new), failures in sorted(changed.items())
        ],
    }


def _count(changes: Changes, later: Mapping[CaseKey, str] | None) -> JudgedFailures:
    counts = Counter(changes.values())
    excused = [case for case, change in changes.items() if change == "flaky_failure"] if later is not None else []
    return {
        "new_failures": counts["new_failure"],
        "flaky_failures": counts["flaky_failure"],
        "known_failures": counts["known_failure"],
        "excused_failures": len(excused),
        "excused_real": sum(1 for case in excused if (later or {}).get(case) in FAILING_CODES),
        "excused_unverified": sum(1 for case in excused if case not in (later or {})),
    }
