"""The results of a run by part: a result corrects one of the same part and attempt, and the worst part decides.

Within a part, the highest attempt that executed a case decides. A part never removes a failure of another part. The
order, the number, and the batches of the events don't matter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from service.domain.ids import CaseKey
from service.domain.parts import PartNumbers
from service.domain.results import FAILING_CODES, CaseOutcome, add_job_attempts, is_executed, precedence

CaseOutcomes = dict[CaseKey, CaseOutcome]
ShardOutcomes = dict[int, CaseOutcomes]  # the newest outcome of each case by the number of the part


class MergeCounts(NamedTuple):
    """The numbers of a receipt: results that the event replaced, and cases that other parts had reported before."""

    replaced: int = 0
    replaced_failing: int = 0
    combined: int = 0


@dataclass(slots=True)
class MergeEffects:
    """What the outcomes of one part changed: replaced cases, and cases that another part had already reported."""

    replaced: set[CaseKey] = field(default_factory=set)
    replaced_failing: set[CaseKey] = field(default_factory=set)
    combined: set[CaseKey] = field(default_factory=set)

    def add_replaced(self, case_key: CaseKey, status: str) -> None:
        """Add the result of a case with this status code, which a newer result of the same part replaced."""
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


def set_number(outcomes: CaseOutcomes, number: int) -> CaseOutcomes:
    """Return the outcomes with another number of their part."""
    return {key: outcome._replace(shard=number) for key, outcome in outcomes.items()}


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
    """The deciding outcome of each case, and the outcomes of all parts for cases that several parts reported."""

    deciding: list[CaseOutcome]
    of_shards: list[CaseOutcome]


def combine(run: ShardOutcomes, parts: PartNumbers) -> CombinedOutcomes:
    """Combine the parts of a run that isn't stored yet."""
    if len(run) == 1:
        [cases] = run.values()
        return CombinedOutcomes(list(cases.values()), [])
    by_case: dict[CaseKey, dict[int, CaseOutcome]] = {}
    for number, cases in run.items():
        for case_key, outcome in cases.items():
            by_case.setdefault(case_key, {})[number] = outcome
    reports = by_case.values()
    return CombinedOutcomes(
        [find_deciding(outcomes, parts) for outcomes in reports],
        [outcome for outcomes in reports if len(outcomes) > 1 for outcome in outcomes.values()],
    )


def find_deciding(outcomes: Mapping[int, CaseOutcome], parts: PartNumbers) -> CaseOutcome:
    """Return the worst outcome of several parts. The order of a correction applies, without the event time.

    If outcomes are equal, that of the first part by name, variant, and shard decides.
    """
    of_parts = [_find_of_part([outcomes[number] for number in attempts]) for attempts in parts.group(outcomes)]
    return of_parts[0] if len(of_parts) == 1 else max(of_parts, key=lambda outcome: precedence(outcome)[1:])


def _find_of_part(attempts: Sequence[CaseOutcome]) -> CaseOutcome:
    """Return the outcome of one part. Test tools report cases that a rerun selects not to execute as skipped.

    Example: a case failed in the first attempt of its job and is skipped in the second one. The failure decides.
    """
    return add_job_attempts([each for each in attempts if is_executed(each)] or attempts)


class MergedCase(NamedTuple):
    """A stored case after new outcomes. If only one part has reported the case, no outcome is stored by part."""

    added: list[CaseOutcome]  # the outcomes of parts that aren't stored by part
    corrected: list[CaseOutcome]  # the outcomes that replace those of the same part
    before: CaseOutcome | None  # the deciding outcome so far, or None if the case wasn't stored
    deciding: CaseOutcome


def merge_case(
    stored: Mapping[int, CaseOutcome],
    new: Mapping[int, CaseOutcome],
    effects: Mapping[int, MergeEffects],
    parts: PartNumbers,
) -> MergedCase:
    """Merge new outcomes of a case, by part, into the stored ones. Add the effects of each part to `effects`."""
    merged = dict(stored)
    for shard, outcome in new.items():
        older = stored.get(shard)
        if stored.keys() - {shard}:
            effects[shard].combined.add(outcome.case_key)
        if older is None or precedence(outcome) > precedence(older):
            merged[shard] = outcome
            if older is not None:
                effects[shard].add_replaced(outcome.case_key, older.status)
    before = find_deciding(stored, parts) if stored else None
    known = stored if len(stored) > 1 else {}  # the outcome of a single part is stored as the result
    several = merged if len(merged) > 1 else {}
    added = [each for number, each in several.items() if number not in known]
    corrected = [each for number, each in several.items() if number in known and known[number] is not each]
    return MergedCase(added, corrected, before, find_deciding(merged, parts))
