"""The histories of the cases of one project and environment that can be unhealthy, as one document.

A case with two bad results is *tracked*: the document has its outcome in each run. Cases with the same history share
it. Of any other case with a bad result, only this result is known, because one result makes no case unhealthy.
"""

import asyncio
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import compress
from typing import Final, NamedTuple

import orjson

from service.domain.ids import CaseKey
from service.evidence.model import NOT_EXECUTED, EvidenceRun, EvidenceRuns, History, KnownScores, Outcome
from service.states.model import BadResults, HistoryRun, StateValue, count_runs, find_state

_TRACKED_BAD: Final = 2
_JUDGED_PER_STEP: Final = 50  # then other tasks run: a history takes up to 0.1 ms
_FASTEST: Final = 1  # level of zlib


class HistoryGroup(NamedTuple):
    """The cases with one history, and the state that it implies."""

    outcomes: str
    state: StateValue
    cases: list[CaseKey]


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
        stored = orjson.loads(zlib.decompress(document))
        histories = cls(has_all_runs=stored["has_all_runs"])
        histories.runs = [HistoryRun(*run) for run in stored["runs"]]
        histories._groups = [HistoryGroup(*group) for group in stored["groups"]]
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
        return zlib.compress(orjson.dumps(document), _FASTEST)

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
        return {case: group.state for group in self._groups if group.state != "healthy" for case in group.cases}

    @property
    def evidence_runs(self) -> EvidenceRuns:
        """The runs as evidence. Their IDs are the keys."""
        return EvidenceRuns([EvidenceRun(run.run_key, run.commit_sha, run.is_mass_failure) for run in self.runs])

    def find(self, cases: Collection[CaseKey]) -> dict[CaseKey, History]:
        """Return the histories of those of the cases that are tracked."""
        runs = self.evidence_runs
        return {case: History(group.outcomes, runs) for group in self._groups for case in group.cases if case in cases}

    def has_place_for(self, run: HistoryRun) -> bool:
        """Return whether the run isn't older than the first of the runs, if there are older ones."""
        return self.has_all_runs or not self.runs or run.run_key > self.runs[-1].run_key

    def remove(self, run_keys: Collection[str]) -> None:
        """Remove runs with their results."""
        kept = [run.run_key not in run_keys for run in self.runs]
        self.runs = list(compress(self.runs, kept))
        self._rewrite(lambda outcomes: "".join(compress(outcomes, kept)))
        for case, bad in list(self._untracked.items()):
            self._untracked[case] = {run_key: outcome for run_key, outcome in bad.items() if run_key not in run_keys}
            if not self._untracked[case]:
                del self._untracked[case]

    def insert(self, run: HistoryRun, bad: BadResults, passed: Iterable[CaseKey]) -> None:
        """Insert a run with its bad results, and with the tracked cases that passed."""
        place = sum(1 for other in self.runs if other.run_key > run.run_key)
        self.runs.insert(place, run)
        results: dict[CaseKey, str] = dict.fromkeys(passed, "p") | dict(bad)
        groups: list[HistoryGroup] = []
        known = set[CaseKey]()
        for outcomes, state, cases in self._groups:
            known.update(cases)
            by_outcome: dict[str, list[CaseKey]] = {}
            for case in cases:
                by_outcome.setdefault(results.get(case, NOT_EXECUTED), []).append(case)
            for outcome, part in by_outcome.items():
                groups.append(HistoryGroup(outcomes[:place] + outcome + outcomes[place:], state, part))
        self._groups = groups
        for case in bad.keys() - known:
            self._untracked.setdefault(case, {})[run.run_key] = bad[case]

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
        self._groups += [HistoryGroup(letters, "healthy", [case]) for case, letters in outcomes.items()]

    def trim(self) -> bool:
        """Remove the runs before the window of states. Return False if the window has runs that are missing here."""
        count = count_runs([run.run_key for run in self.runs])
        if count < len(self.runs):
            self.remove({run.run_key for run in self.runs[count:]})
            self.has_all_runs = False
        return self.has_all_runs or count_runs([run.run_key for run in self.runs], default=0) > 0

    async def judge(self, known: KnownScores) -> None:
        """Judge the state of each tracked case, and combine the cases that have the same history."""
        runs, judged = self.evidence_runs, dict[str, HistoryGroup]()
        for outcomes, _, cases in self._groups:
            if group := judged.get(outcomes):
                group.cases.extend(cases)
                continue
            judged[outcomes] = HistoryGroup(outcomes, find_state(History(outcomes, runs), known), cases)
            if len(judged) % _JUDGED_PER_STEP == 0:
                await asyncio.sleep(0)
        self._groups = []
        for group in judged.values():
            if group.state != "healthy" or _count_bad(group.outcomes) >= _TRACKED_BAD:
                self._groups.append(group)
            else:
                self._stop_tracking(group)

    def _stop_tracking(self, group: HistoryGroup) -> None:
        bad: dict[str, Outcome] = {"r": "r", "f": "f"}
        for run, letter in zip(self.runs, group.outcomes, strict=True):
            if outcome := bad.get(letter):
                self._untracked |= {case: {run.run_key: outcome} for case in group.cases}

    def _rewrite(self, change: Callable[[str], str]) -> None:
        self._groups = [group._replace(outcomes=change(group.outcomes)) for group in self._groups]


def _count_bad(outcomes: str) -> int:
    return outcomes.count("f") + outcomes.count("r")
