"""The histories of the cases of one project and environment that can be unhealthy, as one document.

A case with two bad results is *tracked*: the document has its outcome in each run. Cases with the same history share
it. Of any other case with a bad result, only this result is known, because one result makes no case unhealthy.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import compress
from typing import Final, NamedTuple

import orjson
import zstandard

from service.domain.ids import CaseKey
from service.domain.statuses import StateValue
from service.evidence.model import NOT_EXECUTED, EvidenceRun, EvidenceRuns, History, KnownScores, Outcome
from service.states.model import BadResults, HistoryRun, StateDetails, count_runs, describe_state, judge_state

_TRACKED_BAD: Final = 2
_JUDGED_PER_STEP: Final = 10  # then other tasks run: without known scores, a history takes up to 3 ms
_LEVEL: Final = 1  # of zstd


class HistoryGroup(NamedTuple):
    """The cases with one history, and its state: see `JudgedState`. Negative stable passes require a new judgment."""

    outcomes: str
    value: StateValue
    results: int
    stable_passes: int
    cases: list[CaseKey]

    def with_result(self, place: int, outcome: str, cases: list[CaseKey], *, is_newest: bool) -> "HistoryGroup":
        """Return the group of some of the cases with one more outcome. Only a newest pass can leave the state."""
        outcomes = self.outcomes[:place] + outcome + self.outcomes[place:]
        if is_newest and outcome == NOT_EXECUTED:
            return HistoryGroup(outcomes, self.value, self.results, self.stable_passes, cases)
        stable = self.stable_passes - 1 if is_newest and outcome == "p" else -1
        return HistoryGroup(outcomes, self.value, self.results + 1, stable, cases)


class CaseHistories:
    """The runs, newest first, and the histories of cases. `has_all_runs` is false if older runs exist."""

    def __init__(self, *, has_all_runs: bool = True) -> None:
        self.runs: list[HistoryRun] = []
        self.has_all_runs = has_all_runs
        self._groups: list[HistoryGroup] = []
        self._untracked: dict[CaseKey, dict[str, Outcome]] = {}  # bad results by run

    @classmethod
    def decode(cls, document: bytes) -> "CaseHistories":
        """Return the histories that `encode` wrote."""
        stored = orjson.loads(zstandard.decompress(document))
        histories = cls(has_all_runs=stored["has_all_runs"])
        histories.runs = [HistoryRun(*run) for run in stored["runs"]]
        histories._groups = list(map(HistoryGroup._make, stored["groups"]))
        for run_key, outcome, cases in stored["untracked"]:
            for case in cases:
                histories._untracked[case] = {run_key: outcome}
        return histories

    def encode(self) -> bytes:
        """Return the histories as compressed JSON. All cases with two bad results must be tracked."""
        untracked: dict[tuple[str, Outcome], list[CaseKey]] = {}
        for case, bad in self._untracked.items():
            (result,) = bad.items()
            untracked.setdefault(result, []).append(case)
        document = {
            "has_all_runs": self.has_all_runs,
            "runs": list(map(tuple, self.runs)),
            "groups": list(map(tuple, self._groups)),
            "untracked": [(*result, cases) for result, cases in untracked.items()],
        }
        return zstandard.compress(orjson.dumps(document), _LEVEL)

    @property
    def tracked(self) -> list[CaseKey]:
        """The cases with an outcome for each run."""
        return [case for group in self._groups for case in group.cases]

    @property
    def untracked(self) -> list[CaseKey]:
        """The cases that must be tracked before histories are judged."""
        return [case for case, bad in self._untracked.items() if len(bad) >= _TRACKED_BAD]

    @property
    def states(self) -> dict[CaseKey, StateValue]:
        """The states of unhealthy cases, as they were judged last."""
        return {case: group.value for group in self._groups if group.value != "healthy" for case in group.cases}

    @property
    def outcomes(self) -> dict[CaseKey, str]:
        """The outcomes of each tracked case in all runs."""
        return {case: group.outcomes for group in self._groups for case in group.cases}

    @property
    def evidence_runs(self) -> EvidenceRuns:
        """The runs as evidence. Their IDs are the keys."""
        return EvidenceRuns([EvidenceRun(run.run_key, run.commit_sha, run.is_mass_failure) for run in self.runs])

    def describe(self, cases: Collection[CaseKey]) -> dict[CaseKey, StateDetails]:
        """Return the states of those of the cases that are unhealthy, with their details."""
        runs = self.evidence_runs
        return {
            case: describe_state(History(group.outcomes, runs), group.value, group.results)
            for group in self._groups
            if group.value != "healthy"
            for case in group.cases
            if case in cases
        }

    def has_place_for(self, run: HistoryRun) -> bool:
        """Return whether the run isn't older than the first of the runs, if there are older ones."""
        return self.has_all_runs or not self.runs or run.run_key > self.runs[-1].run_key

    def remove(self, run_keys: Collection[str]) -> None:
        """Remove runs with their results."""
        if not run_keys:
            return
        kept = [run.run_key not in run_keys for run in self.runs]
        self.runs = list(compress(self.runs, kept))
        self._groups = [
            group._replace(outcomes="".join(compress(group.outcomes, kept)), stable_passes=-1) for group in self._groups
        ]
        for case, bad in list(self._untracked.items()):
            self._untracked[case] = {run_key: outcome for run_key, outcome in bad.items() if run_key not in run_keys}
            if not self._untracked[case]:
                del self._untracked[case]

    def insert(self, run: HistoryRun, bad: BadResults, passed: Iterable[CaseKey]) -> None:
        """Insert a run with its bad results, and with the tracked cases that passed."""
        place = sum(1 for other in self.runs if other.run_key > run.run_key)
        is_newest = place == 0 and (
            run.commit_sha is None or all(run.commit_sha != other.commit_sha for other in self.runs)
        )
        self.runs.insert(place, run)
        results: dict[CaseKey, str] = dict.fromkeys(passed, "p") | dict(bad)
        find = results.get
        groups: list[HistoryGroup] = []
        for group in self._groups:
            by_outcome: dict[str, list[CaseKey]] = {}
            for case in group.cases:
                by_outcome.setdefault(find(case, NOT_EXECUTED), []).append(case)
            groups += [
                group.with_result(place, outcome, part, is_newest=is_newest) for outcome, part in by_outcome.items()
            ]
        for case in bad.keys() - set(self.tracked):
            self._untracked.setdefault(case, {})[run.run_key] = bad[case]
        self._groups = groups

    def read_untracked(
        self, cases: Sequence[CaseKey], runs: Sequence[HistoryRun], passed: Mapping[str, Collection[CaseKey]]
    ) -> dict[CaseKey, str]:
        """Return the outcomes of untracked cases in some of the runs. `passed` are those that passed, by run."""
        outcomes: dict[CaseKey, list[str]] = {case: [] for case in cases}
        for run in runs:
            passed_here = passed.get(run.run_key, ())
            for case, letters in outcomes.items():
                good = "p" if case in passed_here else NOT_EXECUTED
                letters.append(self._untracked[case].get(run.run_key, good))
        return {case: "".join(letters) for case, letters in outcomes.items()}

    def track(self, outcomes: Mapping[CaseKey, str]) -> None:
        """Track cases with their outcomes in all runs."""
        for case in outcomes:
            del self._untracked[case]
        self._groups += [HistoryGroup(letters, "healthy", 0, -1, [case]) for case, letters in outcomes.items()]

    def trim(self) -> bool:
        """Remove the runs before the window of states. Return False if the window has runs that are missing here."""
        count = count_runs([run.run_key for run in self.runs])
        if count is not None and count < len(self.runs):
            self.remove({run.run_key for run in self.runs[count:]})
            self.has_all_runs = False
        return count is not None or self.has_all_runs

    async def judge(self, known: KnownScores) -> None:
        """Judge the states that can have changed, and combine the cases that have the same history."""
        runs, groups, judged = self.evidence_runs, dict[str, HistoryGroup](), 0
        for group in self._groups:
            if same := groups.get(group.outcomes):
                same.cases.extend(group.cases)
            elif group.stable_passes >= 0:
                groups[group.outcomes] = group
            else:
                state = judge_state(History(group.outcomes, runs), known)
                groups[group.outcomes] = HistoryGroup(group.outcomes, *state, group.cases)
                judged += 1
                if judged % _JUDGED_PER_STEP == 0:
                    await asyncio.sleep(0)
        self._groups = []
        for group in groups.values():
            if group.value != "healthy" or _count_bad(group.outcomes) >= _TRACKED_BAD:
                self._groups.append(group)
            else:
                self._stop_tracking(group)

    def _stop_tracking(self, group: HistoryGroup) -> None:
        bad: dict[str, Outcome] = {"r": "r", "f": "f"}
        for run, letter in zip(self.runs, group.outcomes, strict=True):
            if outcome := bad.get(letter):
                self._untracked |= {case: {run.run_key: outcome} for case in group.cases}


def _count_bad(outcomes: str) -> int:
    return outcomes.count("f") + outcomes.count("r")
