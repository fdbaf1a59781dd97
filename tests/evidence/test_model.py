"""The rules of evidence at their boundaries: episodes, changes of failures, and sentences."""

from typing import Any, Final

import pytest

from service.evidence.model import (
    Evidence,
    EvidenceRun,
    EvidenceRuns,
    History,
    count_episodes,
    describe_evidence,
    find_outcome,
    is_mass_failure,
    is_outage,
    judge_failure,
)

OUTCOMES: Final = {"p": "p", "F": "r", "f": "f", "-": "-"}


def history(text: str) -> History:
    """Return results, newest first: `p` passed, `F` passed on a retry, `f` failed in all attempts, `-` not executed.

    A digit after a letter is the commit of the run, and `!` marks a mass failure. Spaces are ignored.
    """
    outcomes, runs = "", list[EvidenceRun]()
    for letter in text.replace(" ", ""):
        if letter in OUTCOMES:
            runs.append(EvidenceRun(f"run_{len(runs) + 1}", None))
            outcomes += OUTCOMES[letter]
            continue
        changed = {"is_mass_failure": True} if letter == "!" else {"commit_sha": letter}
        runs[-1] = runs[-1]._replace(**changed)
    return History(outcomes, EvidenceRuns(runs))


@pytest.mark.parametrize(
    ("status", "flaky", "outcome"),
    [
        ("p", False, "p"),
        ("p", True, "r"),
        ("f", False, "f"),
        ("e", False, "f"),
        ("s", False, None),
        ("c", False, None),
    ],
)
def test_outcome(status: str, flaky: bool, outcome: str | None) -> None:
    assert find_outcome(status, flaky=flaky) == outcome


@pytest.mark.parametrize(
    ("text", "episodes", "final"),
    [
        ("", 0, 0),
        ("ppp", 0, 0),
        ("pfffp", 1, 1),
        ("fpf", 2, 2),
        ("fFf", 3, 2),
        ("pFFp", 2, 0),
        ("pf1p1p", 1, 1),
        ("f1f2p2", 2, 2),  # a break, and a commit that also passed
        ("f1p1f1", 1, 1),
        ("f1F1", 2, 1),
        ("f!f!p", 0, 0),
        ("ff!f", 1, 1),
        ("F!pf", 1, 1),
    ],
)
def test_episodes(text: str, episodes: int, final: int) -> None:
    assert count_episodes(history(text), final_only=False) == episodes
    assert count_episodes(history(text), final_only=True) == final


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("", "new_failure"),
        ("p" * 100, "new_failure"),
        ("ppp f ppp", "new_failure"),
        ("pppp fff pppp", "new_failure"),  # one episode
        ("ppp f pp f pp", "flaky_failure"),
        ("p F ppp F p", "flaky_failure"),
        ("p" * 50 + "F" + "p" * 40 + "F", "flaky_failure"),
        ("p" * 98 + "FF", "new_failure"),  # another rate, 98 runs ago
        ("p" * 12 + "f" * 20 + "p" * 60, "new_failure"),  # repaired 12 runs ago: its failure is a regression
        ("ppp f! ppp f! ppp", "new_failure"),  # two mass failures
        ("f", "known_failure"),
        ("f! ppp", "known_failure"),
        ("p ff ppp", "known_failure"),
        ("pp ff ppp", "known_failure"),
        ("ppp ff ppp", "new_failure"),
        ("pp f ppp", "new_failure"),
        ("pF ff ppp", "known_failure"),
    ],
)
def test_change_of_a_failure(text: str, change: str) -> None:
    assert judge_failure(history(text), was_retried=False)[0] == change


def test_failure_of_several_attempts_is_compared_with_final_failures() -> None:
    always_passed_on_a_retry = history("pFpFpFpFpFpFpFpFpFpF")
    assert judge_failure(always_passed_on_a_retry, was_retried=False)[0] == "flaky_failure"
    change, evidence = judge_failure(always_passed_on_a_retry, was_retried=True)
    assert (change, evidence.failed, evidence.flaky) == ("new_failure", 0, 10)
    assert judge_failure(history("ppfpFppfp"), was_retried=True)[0] == "flaky_failure"


def test_evidence_counts_the_newest_segment() -> None:
    _, evidence = judge_failure(history("p" * 12 + "f" * 20 + "p" * 60), was_retried=False)
    assert evidence._replace(failure_rate=None) == Evidence(runs=12, since_run_id="run_12", last_passed_run_id="run_1")
    assert evidence.failure_rate == pytest.approx(0.05 / 12.55)
    _, evidence = judge_failure(history("fffp"), was_retried=False)
    assert evidence._replace(failure_rate=None) == Evidence(
        runs=4, failed=3, consecutive_failures=3, failing_since_run_id="run_3", last_passed_run_id="run_4"
    )
    assert judge_failure(history("ppffp"), was_retried=False)[1].repaired_run_id == "run_2"
    assert judge_failure(history(""), was_retried=False)[1] == Evidence()


@pytest.mark.parametrize(
    ("executed", "failed", "outage", "mass"),
    [(20, 17, True, False), (20, 16, False, False), (19, 19, False, False), (100, 20, False, True),
     (101, 20, False, False), (20, 20, True, True), (25, 20, False, True)],
)  # fmt: skip
def test_outages_and_mass_failures(executed: int, failed: int, outage: bool, mass: bool) -> None:
    assert (is_outage(executed, failed), is_mass_failure(executed, failed)) == (outage, mass)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "not executed in the compared runs on main"),
        ({"runs": 100}, "passed in all 100 runs on main"),
        ({"runs": 30, "since_run_id": "g-790"}, "passed in all 30 runs on main since it was repaired in run g-790"),
        ({"runs": 1, "since_run_id": "g-790"}, "passed in its only run on main since it was repaired in run g-790"),
        (
            {"runs": 96, "failed": 6, "since_run_id": "g-700"},
            "failed in 6 of 96 runs on main since run g-700",
        ),
        (
            {"runs": 2, "since_run_id": "g-8", "repaired_run_id": "g-8"},
            "passed in all 2 runs on main since it was repaired in run g-8; update the branch",
        ),
        (
            {"runs": 3, "failed": 3, "consecutive_failures": 3, "since_run_id": "g-5", "failing_since_run_id": "g-5"},
            "failed in all 3 runs on main since run g-5",
        ),
        (
            {"runs": 1, "failed": 1, "consecutive_failures": 1, "since_run_id": "g-7", "failing_since_run_id": "g-7"},
            "failed in its only run on main since run g-7; known from one result only",
        ),
        ({"runs": 5, "flaky": 5}, "was flaky in all 5 runs on main"),
        ({"runs": 20, "failed": 1, "flaky": 2}, "failed in 1 and was flaky in 2 of 20 runs on main"),
        (
            {"runs": 20, "failed": 1, "consecutive_failures": 1, "failing_since_run_id": "g-7"},
            "failed in 1 of 20 runs on main; known from one result only, in run g-7",
        ),
        (
            {"runs": 9, "failed": 3, "consecutive_failures": 3, "failing_since_run_id": "g-5"},
            "failed in 3 of 9 runs on main, failing since run g-5",
        ),
        (
            {"runs": 9, "failed": 2, "repaired_run_id": "g-8"},
            "failed in 2 of 9 runs on main, repaired in run g-8; update the branch",
        ),
    ],
)
def test_sentence(fields: dict[str, Any], sentence: str) -> None:
    assert describe_evidence(Evidence(**fields)._asdict(), "main") == sentence
    assert describe_evidence(Evidence(**fields)._asdict(), None) == sentence.replace(" on main", "")


@pytest.mark.parametrize("broken", [20, 98])
def test_sentence_about_a_repair_says_to_update_the_branch(broken: int) -> None:
    """After a long break, both passed results are a segment of their own."""
    change, evidence = judge_failure(history("pp" + "f" * broken), was_retried=False)
    assert change == "known_failure"
    assert describe_evidence(evidence._asdict(), "main").endswith("repaired in run run_2; update the branch")


def test_sentence_about_the_fields_of_an_earlier_version() -> None:
    evidence = {"runs": 3, "failed": 3, "flaky": 0, "failing_since_run_id": "a", "last_passed_run_id": None}
    assert describe_evidence(evidence, "main") == "failed in all 3 runs on main, failing since run a"
