"""The status of a run without results, which is an error as soon as the run is complete, and the duration of a run."""

from dataclasses import replace
from functools import reduce
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.statuses import Counts
from service.runs.model import (
    MAX_SPANS,
    NO_PART,
    PartVersion,
    RunState,
    Span,
    duration_ms,
    join_spans,
    merge,
    run_status,
)

STATE = RunState("run_1", "shop", 0, 0)
SHARDS = frozenset({1, 2})


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, "p"),
        ({"closed": True}, "e"),
        ({"expected_results": 2}, "p"),
        ({"expected_results": 0}, "p"),
        ({"expected_shards": 2}, "p"),
        ({"expected_shards": 2, "shards": SHARDS}, "e"),
        ({"expected_results": 2, "closed": True}, "e"),
        ({"closed": True, "part_versions": {NO_PART: PartVersion(0, status="p")}}, "p"),
        ({"closed": True, "part_versions": {NO_PART: PartVersion(0, status="c")}}, "c"),
        ({"closed": True, "stated_status": "p", "status_event_s": 1}, "p"),
    ],
)
def test_status_of_a_run_without_results(fields: Any, status: str) -> None:
    assert run_status(replace(STATE, **fields), Counts()) == status


def test_skipped_results_are_results() -> None:
    assert run_status(replace(STATE, closed=True), Counts(skipped=1)) == "p"


def state_of(*spans: Span) -> RunState:
    """Return the state according to one event, or to one upload of several reports."""
    return replace(STATE, spans=join_spans(spans))


def duration_of(*events: list[Span]) -> int | None:
    return duration_ms(reduce(merge, [state_of(*spans) for spans in events]).spans)


@pytest.mark.parametrize(
    ("events", "duration"),
    [
        ([[(10, 13)]], 3),
        ([[(0, 3_000)], [(166_000, 169_000)]], 6_000),
        ([[(0, 60)], [(0, 40)]], 60),
        ([[(0, 60)], [(50, 90)]], 90),
        ([[(0, 10)], [(10, 30)]], 30),
        ([[(0, 10)], [(20, 30)], [(5, 25)]], 30),
        ([[(0, 10), (2_100_000, 2_100_005)]], 15),
        ([[(0, 10)], []], 10),
        ([[], []], None),
        ([[(20, 10)]], 0),
    ],
    ids=[
        "one event", "a pause", "parallel jobs", "overlapping jobs", "consecutive jobs", "a job that fills the pause",
        "two reports of one upload", "an event without a start", "no start", "a start after the end",
    ],
)  # fmt: skip
def test_duration_is_the_time_in_which_a_part_was_executed(events: list[list[Span]], duration: int | None) -> None:
    assert duration_of(*events) == duration


SPANS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=3)


@given(st.lists(SPANS, min_size=1, max_size=8), st.data())
def test_duration_counts_each_executed_ms_once_in_any_order_and_with_repetitions(
    events: list[list[Span]], data: st.DataObject
) -> None:
    spans = [span for event in events for span in event]
    expected = len({ms for start, end in spans for ms in range(start, end)}) if spans else None
    repeated = data.draw(st.lists(st.sampled_from(events), max_size=3))
    assert duration_of(*data.draw(st.permutations([*events, *repeated]))) == expected


@given(st.permutations(range(1, MAX_SPANS + 5)))
def test_run_with_too_many_pauses_counts_only_the_shortest_ones(pauses: list[int]) -> None:
    starts = list(accumulate(pauses, initial=0))
    joined = join_spans((start, start) for start in starts)
    assert len(joined) == MAX_SPANS
    assert sum(end - start for start, end in joined) == 1 + 2 + 3 + 4 + 5
    assert (joined[0][0], joined[-1][1]) == (0, starts[-1])
