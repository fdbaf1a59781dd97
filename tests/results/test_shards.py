"""Corrections within a shard and combinations between shards: any order and any batches lead to the same outcomes."""

from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from service.domain.ids import CaseKey
from service.domain.statuses import SEVERITY, STATUS_CODES, STATUS_NAMES
from service.results.model import (
    Attempt,
    CaseOutcome,
    CaseOutcomes,
    MergeCounts,
    MergeEffects,
    PartOutcomes,
    combine,
    find_deciding,
    merge_case,
    merge_event,
)
from service.runs.model import PartNumbers

PARTS = PartNumbers()
CASES = [CaseKey(1), CaseKey(2), CaseKey(3)]

Stored = dict[CaseKey, dict[int, CaseOutcome]]


class ShardEvent(NamedTuple):
    shard: int
    outcomes: CaseOutcomes


def outcome(case: int, status: str, shard: int, event_s: int = 0, duration_ms: int = 0) -> CaseOutcome:
    attempts = () if status == "passed" else (Attempt(STATUS_CODES[status], duration_ms),)
    return CaseOutcome(CaseKey(case), STATUS_CODES[status], False, 1, duration_ms, None, event_s, shard, attempts)


def of(*outcomes: CaseOutcome) -> CaseOutcomes:
    return {each.case_key: each for each in outcomes}


@st.composite
def shard_events(draw: st.DrawFn) -> ShardEvent:
    shard, event_s = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    reported = draw(
        st.dictionaries(st.sampled_from(CASES), st.tuples(st.sampled_from(list(SEVERITY)), st.integers(0, 1)))
    )
    outcomes = [outcome(case, status, shard, event_s, duration) for case, (status, duration) in reported.items()]
    return ShardEvent(shard, of(*outcomes))


def store(stored: Stored, batch: Sequence[ShardEvent]) -> None:
    """Merge a batch into the stored outcomes, as ingest does."""
    new: PartOutcomes = {}
    for event in batch:
        merge_event(new, event.shard, event.outcomes)
    effects = {shard: MergeEffects() for shard in new}
    for case in {case for cases in new.values() for case in cases}:
        known = stored.get(case, {})
        merged = merge_case(
            known, {shard: cases[case] for shard, cases in new.items() if case in cases}, effects, PARTS
        )
        stored[case] = {**known, **{each.part: each for each in merged.added + merged.corrected or [merged.deciding]}}
        assert merged.before == (find_deciding(known, PARTS) if known else None)


@given(st.lists(shard_events(), min_size=1, max_size=6), st.data())
def test_any_order_and_any_batches_lead_to_the_same_outcomes(events: list[ShardEvent], data: st.DataObject) -> None:
    stored: Stored = {}
    for event in events:
        store(stored, [event])
    repeated = events + data.draw(st.lists(st.sampled_from(events), max_size=4))
    order = data.draw(st.permutations(repeated))
    first_end, second_end = sorted(data.draw(st.tuples(st.integers(0, len(order)), st.integers(0, len(order)))))
    other: Stored = {}
    for batch in (order[:first_end], order[first_end:second_end], order[second_end:]):
        store(other, batch)
    assert other == stored


@given(st.lists(shard_events(), min_size=1, max_size=6))
def test_no_shard_removes_a_failure_of_another_shard(events: list[ShardEvent]) -> None:
    run: PartOutcomes = {}
    for event in events:
        merge_event(run, event.shard, event.outcomes)
    combined = combine(run, PARTS)
    severities = {each.case_key: SEVERITY[STATUS_NAMES[each.status]] for each in combined.deciding}
    for event in events:
        for case, each in event.outcomes.items():
            newest = max(e.event_s for other in events if other.shard == event.shard for e in of_case(other, case))
            if each.event_s == newest:
                assert severities[case] >= SEVERITY[STATUS_NAMES[each.status]]
    reported = [(each.case_key, each.part) for each in combined.of_parts]
    assert len(set(reported)) == len(reported)
    assert {case for case, _ in reported} == {
        case for case in CASES if sum(case in cases for cases in run.values()) > 1
    }


def of_case(event: ShardEvent, case: CaseKey) -> list[CaseOutcome]:
    return [event.outcomes[case]] if case in event.outcomes else []


def test_equal_outcomes_of_several_shards_are_those_of_the_first_shard() -> None:
    assert find_deciding({3: outcome(1, "passed", 3), 2: outcome(1, "passed", 2)}, PARTS).part == 2


def test_effects_name_corrections_and_combinations() -> None:
    run: PartOutcomes = {}
    assert merge_event(run, 1, of(outcome(1, "failed", 1), outcome(2, "passed", 1))).counts == MergeCounts()
    correction = of(outcome(1, "passed", 1, 1), outcome(2, "failed", 1, 1), outcome(3, "passed", 1, 1))
    assert merge_event(run, 1, correction).counts == MergeCounts(replaced=2, replaced_failing=1)
    assert merge_event(run, 2, of(outcome(1, "passed", 2), outcome(4, "passed", 2))).counts == MergeCounts(combined=1)
    assert merge_event(run, 1, of(outcome(1, "error", 1))).counts == MergeCounts(combined=1)
