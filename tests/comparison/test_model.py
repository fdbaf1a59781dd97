"""The rules of a comparison, at their boundaries."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from service.comparison import model as comparison_model
from service.comparison.model import (
    BaselineChoice,
    ComparedResult,
    ComparedRun,
    ComparisonWindow,
    StatusPair,
    classify_other,
    count_failing,
    find_baseline,
    other_pairs,
    parse_baseline,
)
from service.domain.ids import CaseKey, RunKey
from service.domain.statuses import Counts


@pytest.mark.parametrize(
    ("status", "changes"),  # for no result in the baseline, and for passed, failed, error, skipped, and canceled
    [
        (None, ["", "removed", "removed", "removed", "removed", "removed"]),
        ("p", ["added", "unchanged", "fixed", "fixed", "unchanged", "unchanged"]),
        ("s", ["added", "unchanged", "unchanged", "unchanged", "unchanged", "unchanged"]),
        ("c", ["added", "unchanged", "unchanged", "unchanged", "unchanged", "unchanged"]),
    ],
)
def test_change_of_another_result(status: str | None, changes: list[str]) -> None:
    pairs = [StatusPair(status, baseline) for baseline in (None, "p", "f", "e", "s", "c")]
    for pair, change in zip(pairs, changes, strict=True):
        assert not change or classify_other(pair) == change
    assert {pair: change for pair, change in zip(pairs, changes, strict=True) if change} == {
        pair: change for pair, change in other_pairs().items() if pair.status == status
    }


def test_pairs_have_distinct_codes() -> None:
    assert {StatusPair.parse(pair.code) for pair in other_pairs()} == other_pairs().keys()
    assert len({pair.code for pair in other_pairs()}) == 4 * 6 - 1


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("window", BaselineChoice("window")),
        ("run:a:b", BaselineChoice("run", "a:b")),
        ("branch:" + "b" * 400, BaselineChoice("branch", "b" * 400)),
        *((text, None) for text in ("", "run", "run:", "branch:", "tag:x", "window:", "run:" + "r" * 201, "run:a\0")),
        ("branch:" + "b" * 401, None),
    ],
)
def test_baseline_is_parsed(text: str, choice: BaselineChoice | None) -> None:
    if choice is not None:
        assert parse_baseline(text) == choice
        return
    with pytest.raises(ValueError, match="must be window, run:<run_id>, or branch:<name>"):
        parse_baseline(text)


def test_failures_that_were_not_compared_are_new(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [ComparedResult(CaseKey(1), "known_failure", "f"), ComparedResult(CaseKey(2), "quarantined", "f")]
    expected: dict[Any, int] = {"new_failure": 0, "flaky_failure": 0, "known_failure": 1, "quarantined": 1}
    assert count_failing(failures, 5) == expected
    monkeypatch.setattr(comparison_model, "MAX_COMPARED_RESULTS", 2)
    assert count_failing(failures, 5) == expected | {"new_failure": 3}


@pytest.mark.parametrize(
    ("executed_results", "index"),
    [([5], 0), ([10, 500, 510], 1), ([400, 500, 510], 0), ([399, 500, 510], 1), ([1, 1, 500], 0)],
)
def test_baseline_is_the_newest_run_that_is_not_partial(executed_results: list[int], index: int) -> None:
    assert find_baseline(executed_results) == index


def compared_run(number: int, letter: str) -> ComparedRun:
    """Return a run of 100 results: `.` normal, `x` an outage, `-` partial."""
    passed, failed = {".": (95, 5), "x": (19, 81), "-": (10, 0)}[letter]
    counts = Counts(passed=passed, failed=failed, error=0, skipped=0, canceled=0, flaky=0)
    time = datetime(2026, 5, 1, tzinfo=UTC)
    return ComparedRun(
        RunKey(UUID(int=1)), str(number), "shop", None, "main", None, time, 1, True, "passed", False, False, time,
        False, True, counts,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("letters", "evidence", "baseline"),
    [
        ("", "", None),
        ("...", "012", 0),
        ("x..", "12", 1),
        (".xx.", "03", 0),
        ("x-..x.", "1235", 2),
        ("xx..x.", "0123" + "5", 0),  # the branch is broken
        ("x", "0", 0),
        ("xxx", "012", 0),
        ("-" + "." * 25, "".join(map(str, range(26))), 1),
        ("." + "x" * 30 + "-", "0" + "31", 0),
    ],
)
def test_outages_are_no_evidence_and_no_baseline(letters: str, evidence: str, baseline: int | None) -> None:
    window = ComparisonWindow.divide([compared_run(*run) for run in enumerate(letters)])
    assert "".join(run.run_id for run in window.evidence) == evidence
    assert (window.baseline and int(window.baseline.run_id)) == baseline
    assert len(window.recent) == min(20, len(letters))
