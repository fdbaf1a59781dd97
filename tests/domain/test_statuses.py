"""The words of producers for statuses."""

import pytest

from service.domain.statuses import RESULT_STATUSES, describe_unknown_status, read_status, states_failure

WORDS = {
    "passed": ["PASSED", "pass", "Ok", "success", "succeeded"],
    "failed": ["Failed", "fail", "failure", "KO"],
    "error": [
        "broken", "crashed", "timedOut", "timed-out", "timed_out", "Timed Out", "timeout", "interrupted", "aborted",
        "Blocked", "inconclusive", "disconnected",
    ],
    "skipped": ["skip", "pending", "disabled", "ignored", "todo", "notRun", "not run", "not-run", "NotExecuted"],
    "canceled": ["cancelled", "CANCELED", "cancel"],
}  # fmt: skip


@pytest.mark.parametrize(("word", "status"), [(word, status) for status, words in WORDS.items() for word in words])
def test_word_has_a_status(word: str, status: str) -> None:
    assert read_status(word) == status


@pytest.mark.parametrize("status", RESULT_STATUSES)
def test_status_is_its_own_word(status: str) -> None:
    assert read_status(status) == status


@pytest.mark.parametrize("word", ["", "odd", "passed!", "not passed", None, True, 1, 1.5, [], {}, ["passed"]])
def test_any_other_value_is_unknown_and_a_failure(word: object) -> None:
    assert read_status(word) is None
    assert states_failure(word)
    assert describe_unknown_status(word).startswith("unknown status")


def test_long_word_is_shortened_in_the_description() -> None:
    assert len(describe_unknown_status("x" * 10_000)) < 200
