"""The state that a history implies."""

import pytest

from service.domain.statuses import StateValue
from service.states.model import describe_state, judge_state
from tests.evidence.test_model import history


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("", "healthy"),
        ("p" * 500, "healthy"),
        ("f" + "p" * 99, "healthy"),
        ("ff" + "p" * 20, "broken"),
        ("ff" + "p" * 19, "healthy"),
        ("fff", "broken"),
        ("fffppp", "broken"),
        ("f!f!" + "p" * 20, "broken"),  # a segment without an episode
        ("pff" + "p" * 20, "healthy"),
        ("f" * 3 + "p" + "f" * 30 + "p" * 60, "broken"),  # repaired for one run
        ("f" * 3 + "p" + "F" * 30 + "p" * 60, "flaky"),
        *(("p" * 20 + "f" * length + "p" * 40, "healthy") for length in (2, 3, 6, 30)),
        ("fff ppp f ppp f ppp", "flaky"),
        ("f" * 12 + "p" * 10 + "f" + "p" * 10 + "f" + "p" * 10, "broken"),  # a boundary is more probable
        ("pFpppFppp", "flaky"),
        ("p" * 100 + "f" + "p" * 100 + "f" + "p" * 100, "healthy"),  # 2 episodes in 302 results
        ("p" * 100 + "f" + "p" * 60 + "f" + "p" * 38, "flaky"),
    ],
)
def test_state(text: str, state: str) -> None:
    assert judge_state(history(text)).value == state


@pytest.mark.parametrize(
    ("text", "state", "since", "last_passed"),
    [
        ("ff-f" + "p" * 20, "broken", 3, 4),
        ("fff", "broken", 2, None),
        ("pfpfpfpf" + "p" * 60, "flaky", 7, 0),  # the newest segment
        ("pFpppFppp", "flaky", None, 0),  # the segment begins with the history
        ("fpppfppp", "flaky", None, 1),
    ],
)
def test_runs_of_a_state(text: str, state: StateValue, since: int | None, last_passed: int | None) -> None:
    judged = judge_state(history(text))
    details = describe_state(history(text), judged.value, judged.results)
    assert (details.value, details.since, details.last_passed) == (state, since, last_passed)
