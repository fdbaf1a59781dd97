"""The results of a run by shard: a newer result of the same shard corrects a result, and the worst shard decides.

A shard never removes a failure of another shard. The order, the number, and the batches of the events don't matter.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from service.domain.ids import CaseKey
from service.domain.results import FAILING_CODES, CaseOutcome, precedence

CaseOutcomes = dict[CaseKey, CaseOutcome]
ShardOutcomes = dict[int, CaseOutcomes]  # the newest outcome of each case by shard


class MergeCounts(NamedTuple):
    """The numbers of a receipt: results that the event replaced, and cases that other shards had reported before."""

    replaced: int = 0
    replaced_failing: int = 0
    combined: int = 0


@dataclass(slots=True)
class MergeEffects:
    """What the outcomes of one shard changed: replaced cases, and cases that another shard had already reported."""

    replaced: set[CaseKey] = field(default_factory=set)
    replaced_failing: set[CaseKey] = field(default_factory=set)
    combined: set[CaseKey] = field(default_factory=set)

    def add_replaced(self, case_key: CaseKey, status: str) -> None:
        """Add the result of a case with this status code, which a newer result of the same shard replaced."""
        self.replaced.add(case_key)
        if status in FAILING_CODES:
            self.replaced_failing.add(case_key)

    def add(self, others: "MergeEffects") -> None:
        """Add the effects of another merge. Each case counts once."""
        self.replaced |= others.replaced
        self.replaced_failing |= others.replaced_failing
        self.combined |= others.combined

    def of_event(self, newest: CaseOutcomes, event: CaseOutcomes) -> "MergeEffects":
        """Return the effects that an event caused, if these are the effects of merging `newest`."""
        own = {key for key in self.replaced if event.get(key) is newest[key]}
        return MergeEffects(own, self.replaced_failing & own, self.combined & event.keys())

    @property
    def counts(self) -> MergeCounts:
        """The numbers for a receipt."""
        return MergeCounts(len(self.replaced), len(self.replaced_failing), len(self.combined))


def merge_event(known: ShardOutcomes, shard: int, outcomes: CaseOutcomes) -> MergeEffects:
    """Merge the outcomes of an event into the newest outcomes of its run, and return the effects."""
    effects = MergeEffects()
    for other, cases in known.items():
        if other != shard:
            effects.combined |= cases.keys() & outcomes.keys()
    if shard not in known:
        known[shard] = dict(outcomes)
        return effects
    cases = known[shard]
    for key, outcome in outcomes.items():
        older = cases.get(key)
        if older is None or precedence(outcome) > precedence(older):
            cases[key] = outcome
            if older is not None:
                effects.add_replaced(key, older.status)
    return effects


class CombinedOutcomes(NamedTuple):
    """The deciding outcome of each case, and the outcomes of all shards for cases that several shards reported."""

    deciding: list[CaseOutcome]
    of_shards: list[CaseOutcome]


def combine(run: ShardOutcomes) -> CombinedOutcomes:
    """Combine the shards of a run that isn't stored yet."""
    if len(run) == 1:
        [cases] = run.values()
        return CombinedOutcomes(list(cases.values()), [])
    by_case: dict[CaseKey, list[CaseOutcome]] = {}
    for cases in run.values():
        for outcome in cases.values():
            by_case.setdefault(outcome.case_key, []).append(outcome)
    reports = by_case.values()
    return CombinedOutcomes(
        [find_deciding(outcomes) for outcomes in reports],
        [outcome for outcomes in reports if len(outcomes) > 1 for outcome in outcomes],
    )


def find_deciding(outcomes: Iterable[CaseOutcome]) -> CaseOutcome:
    """Return the worst outcome of several shards. The order of a correction applies, without the event time."""
    return max(outcomes, key=lambda outcome: (*precedence(outcome)[1:], -outcome.shard))


class MergedCase(NamedTuple):
    """A stored case after new outcomes. `of_shards` is empty if only one shard has reported the case."""

    of_shards: list[CaseOutcome]  # the newest outcome of each shard
    before: CaseOutcome | None  # the deciding outcome so far, or None if the case wasn't stored
    deciding: CaseOutcome


def merge_case(
    stored: Mapping[int, CaseOutcome], new: Mapping[int, CaseOutcome], effects: Mapping[int, MergeEffects]
) -> MergedCase:
    """Merge new outcomes of a case, by shard, into the stored ones. Add the effects of each shard to `effects`."""
    merged = dict(stored)
    for shard, outcome in new.items():
        older = stored.get(shard)
        if stored.keys() - {shard}:
            effects[shard].combined.add(outcome.case_key)
        if older is None or precedence(outcome) > precedence(older):
            merged[shard] = outcome
            if older is not None:
                effects[shard].add_replaced(outcome.case_key, older.status)
    of_shards = list(merged.values()) if len(merged) > 1 else []
    before = find_deciding(stored.values()) if stored else None
    return MergedCase(of_shards, before, find_deciding(merged.values()))
