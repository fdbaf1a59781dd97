"""The status of a run without results, which is an error as soon as the run is complete, and the duration of a run."""

from dataclasses import replace
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.parts import NO_PART, RunPart
from service.domain.runs import PartVersion, RunState, duration_ms, merge, run_status
from service.domain.statuses import Counts

STATE = RunState("run_1", "shop", 0, 0, None)
SHARDS = frozenset({1, 2})
PARTS = [NO_PART, RunPart("unit", attempt=1), RunPart("unit", attempt=2), RunPart("web", shard=1)]

Executed = tuple[RunPart, int | None, int]  # part, start, and completion of an event


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


def state_of(executed: Executed) -> RunState:
    part, started_ms, completed_ms = executed
    version = PartVersion(0, started_ms=started_ms, completed_ms=completed_ms)
    return RunState("run_1", "shop", completed_ms, completed_ms, started_ms, part_versions={part: version})


def duration_of(*executed: Executed) -> int | None:
    return duration_ms(reduce(merge, map(state_of, executed)))


FIRST, RERUN, PARALLEL = PARTS[1], PARTS[2], PARTS[3]


@pytest.mark.parametrize(
    ("executed", "duration"),
    [
        ([(NO_PART, 10, 13)], 3),
        ([(FIRST, 0, 3_000), (RERUN, 166_000, 169_000)], 6_000),
        ([(FIRST, 0, 60), (PARALLEL, 0, 40)], 60),
        ([(FIRST, 0, 60), (PARALLEL, 50, 90)], 90),
        ([(FIRST, 0, 10), (FIRST, 20, 30)], 30),
        ([(FIRST, 0, 10), (RERUN, None, 90)], 10),
        ([(FIRST, None, 10), (RERUN, None, 90)], None),
        ([(FIRST, 20, 10)], 0),
    ],
    ids=[
        "one part", "a pause before a rerun", "parallel jobs", "overlapping jobs", "two uploads of one job",
        "a part without a start", "no start", "a start after the end",
    ],
)  # fmt: skip
def test_duration_is_the_time_in_which_a_part_was_executed(executed: list[Executed], duration: int | None) -> None:
    assert duration_of(*executed) == duration


@given(
    st.lists(
        st.tuples(st.sampled_from(PARTS), st.none() | st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=8
    ),
    st.data(),
)
def test_duration_counts_each_executed_ms_once_in_any_order(executed: list[Executed], data: st.DataObject) -> None:
    busy: set[int] = set()
    for part in PARTS:
        starts = [start for of, start, _ in executed if of == part and start is not None]
        ends = [end for of, _, end in executed if of == part]
        busy.update(range(min(starts), max(ends)) if starts else ())
    expected = len(busy) if any(start is not None for _, start, _ in executed) else None
    assert duration_of(*data.draw(st.permutations(executed))) == expected
