"""The rules of a comparison, at their boundaries."""

from typing import Any

import pytest

from service.comparison import model as comparison_model
from service.comparison.model import (
    BaselineChoice,
    ComparedResult,
    Evidence,
    PastResult,
    StatusPair,
    classify_failing,
    classify_other,
    collect_evidence,
    count_failing,
    executed,
    find_baseline,
    other_pairs,
    parse_baseline,
)
from service.domain.ids import CaseKey


def window(letters: str) -> list[PastResult]:
    """Return the executed results of a case in the runs 1, 2, …, newest first. `F` is flaky, a space no result."""
    past = [
        PastResult(f"run_{number}", "p" if letter == "F" else letter, letter == "F")
        for number, letter in enumerate(letters, 1)
        if letter != " "
    ]
    return executed(past)


@pytest.mark.parametrize(
    ("letters", "change"),
    [
        ("", "new_failure"),
        ("pppp", "new_failure"),
        ("pfpp", "new_failure"),
        ("pFpp", "new_failure"),
        ("sscc", "new_failure"),
        ("psff", "flaky_failure"),
        ("pefp", "flaky_failure"),
        ("pFFp", "flaky_failure"),
        ("FFpp", "flaky_failure"),
        ("pFpf", "flaky_failure"),
        ("p" * 18 + "fF", "flaky_failure"),
        ("f", "known_failure"),
        ("e", "known_failure"),
        ("sscf", "known_failure"),
        ("   ep", "known_failure"),
        ("fFFF", "known_failure"),
    ],
)
def test_change_of_a_failing_result(letters: str, change: str) -> None:
    assert classify_failing(window(letters), is_quarantined=False) == change
    assert classify_failing(window(letters), is_quarantined=True) == "quarantined"


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
    ("letters", "evidence"),
    [
        ("", Evidence(0, 0, 0, None, None)),
        ("s c ", Evidence(0, 0, 0, None, None)),
        ("ppp", Evidence(3, 0, 0, None, "run_1")),
        ("ffp", Evidence(3, 2, 0, "run_2", "run_3")),
        ("fsep", Evidence(3, 2, 0, "run_3", "run_4")),
        ("  f", Evidence(1, 1, 0, "run_3", None)),
        ("pff", Evidence(3, 2, 0, None, "run_1")),
        ("fpff", Evidence(4, 3, 0, "run_1", "run_2")),
        ("FfF", Evidence(3, 1, 2, None, "run_1")),
    ],
)
def test_evidence(letters: str, evidence: Evidence) -> None:
    assert collect_evidence(window(letters)) == evidence


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
    [([], None), ([5], 0), ([10, 500, 510], 1), ([400, 500, 510], 0), ([399, 500, 510], 1), ([1, 1, 500], 0)],
)
def test_baseline_is_the_newest_run_that_is_not_partial(executed_results: list[int], index: int | None) -> None:
    assert find_baseline(executed_results) == index
