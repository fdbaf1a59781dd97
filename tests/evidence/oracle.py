"""A second implementation of the evidence, without the code of the service. Histories are texts, newest first.

`p` passed, `F` passed on a retry, `f` and `e` failed in all attempts, and any other letter wasn't executed.
"""

from collections.abc import Callable, Sequence
from itertools import groupby
from math import lgamma, log
from typing import NamedTuple

BAD, GOOD, BOUNDARY = 0.05, 0.5, 1e-3


class Expected(NamedTuple):
    """The change of a failure, and the evidence. A number is the index of a result in the history."""

    change: str
    runs: int
    failed: int
    flaky: int
    failing_since: int | None
    last_passed: int | None


def newest_length(results: Sequence[bool]) -> int:
    """Return the length of the newest segment, from the oldest result on, with possible boundaries at all positions."""
    oldest_first, size = list(results)[::-1], len(results)
    scores, lengths = [0.0] + [float("-inf")] * size, [0] * (size + 1)
    for end in range(1, size + 1):
        bad = 0
        for start in reversed(range(end)):
            bad += oldest_first[start]
            length = end - start
            score = lgamma(BAD + bad) + lgamma(GOOD + length - bad) - lgamma(BAD + GOOD + length)
            score += lgamma(BAD + GOOD) - lgamma(BAD) - lgamma(GOOD) + scores[start] + (log(BOUNDARY) if start else 0)
            if score >= scores[end] - 1e-9:
                scores[end], lengths[end] = max(score, scores[end]), length
    return lengths[size]


def expected_judgment(letters: str, is_mass_failure: Callable[[int], bool] = lambda index: False) -> Expected:
    """Return what the history says about a failure with one attempt. Each result has a commit of its own."""
    executed = [(index, letter) for index, letter in enumerate(letters) if letter in "pFfe"]
    text = "".join(letter for _, letter in executed)
    segment = text[: newest_length([letter != "p" for letter in text])]
    counted = [letter for (index, letter) in executed[: len(segment)] if letter == "p" or not is_mass_failure(index)]
    kinds = "".join("f" if letter == "e" else letter for letter in counted)
    episodes = kinds.count("F") + sum(1 for letter, _ in groupby(kinds) if letter == "f")
    failing = len(text) - len(text.lstrip("fe"))
    after = len(text) - len(text.lstrip("pF"))
    broken = len(text[after:]) - len(text[after:].lstrip("fe"))
    is_known = failing > 0 or (after < 3 and broken >= 2)
    change = "known_failure" if is_known else "flaky_failure" if episodes >= 2 else "new_failure"
    passed = next((index for index, letter in executed if letter in "pF"), None)
    return Expected(
        change, len(segment), segment.count("f") + segment.count("e"), segment.count("F"),
        executed[failing - 1][0] if failing else None, passed,
    )  # fmt: skip
