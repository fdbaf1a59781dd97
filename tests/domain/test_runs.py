"""The status of a run without results: an error as soon as the run is complete, unless an event states its status."""

from dataclasses import replace
from typing import Any

import pytest

from service.domain.parts import NO_PART
from service.domain.runs import PartVersion, RunState, run_status
from service.domain.statuses import Counts

STATE = RunState("run_1", "shop", 0, 0, None)
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
