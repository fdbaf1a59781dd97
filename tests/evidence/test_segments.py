"""The newest segment: the most probable partition, by brute force and by an independent implementation."""

import random
from collections.abc import Iterator, Sequence
from itertools import product
from math import gamma
from typing import Final

import pytest

from service.evidence.model import KnownScores, newest_segment
from tests.evidence.oracle import BAD, BOUNDARY, GOOD, newest_length

SEED: Final = 20261201


def letters(bad: Sequence[bool]) -> str:
    """Return the outcomes of these results."""
    return "".join("pf"[is_bad] for is_bad in bad)


def likelihood(bad: int, length: int) -> float:
    """Return the probability of these results with a rate that has the prior distribution Beta(BAD, GOOD)."""

    def beta(first: float, second: float) -> float:
        return gamma(first) * gamma(second) / gamma(first + second)

    return beta(BAD + bad, GOOD + length - bad) / beta(BAD, GOOD)


def partitions(results: Sequence[bool]) -> Iterator[tuple[float, int]]:
    """Yield the probability of every partition, and the length of its first segment."""
    for boundaries in product((False, True), repeat=len(results) - 1):
        ends = [end for end, is_boundary in enumerate(boundaries, 1) if is_boundary] + [len(results)]
        probability = BOUNDARY ** (len(ends) - 1)
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            probability *= likelihood(sum(results[start:end]), end - start)
        yield probability, ends[0]


def most_probable(results: Sequence[bool]) -> int:
    """Return the length of the newest segment, of all partitions, also with boundaries between equal results."""
    found = list(partitions(results))
    highest = max(probability for probability, _ in found)
    return max(length for probability, length in found if probability > highest * (1 - 1e-9))


@pytest.mark.parametrize("length", range(1, 10))
def test_every_short_history_has_the_most_probable_partition(length: int) -> None:
    wrong = [
        bad
        for bad in product((False, True), repeat=length)
        if newest_segment(letters(bad)).results != most_probable(bad)
    ]
    assert wrong == []


def test_long_histories_have_the_partition_of_an_independent_implementation() -> None:
    generator, wrong = random.Random(SEED), []
    for _ in range(60):
        rates = [(generator.choice((0, 0, 0.05, 0.3, 1)), generator.choice((2, 3, 10, 40))) for _ in range(4)]
        bad = [generator.random() < rate for rate, length in rates for _ in range(length)]
        if newest_segment(letters(bad)).results != newest_length(bad):
            wrong.append(bad)
    assert wrong == []


def test_known_scores_change_no_partition() -> None:
    """Each result is added to a growing history, whose scores are known, and sometimes a run isn't executed."""
    generator, known, outcomes = random.Random(SEED + 1), KnownScores(2**20), ""
    for position in range(400):
        rate = (0.02, 0.5, 0.1, 0.9)[position // 100]
        outcomes = ("f" if generator.random() < rate else generator.choice("pppr-")) + outcomes
        for final_only in (False, True):
            remembered = newest_segment(outcomes, final_only=final_only, known=known)
            assert remembered == newest_segment(outcomes, final_only=final_only)


@pytest.mark.parametrize(
    ("newest_first", "length"),
    [
        ("", 0),
        ("." * 100, 100),
        ("x" * 100, 100),
        ("." * 12 + "x" * 20 + "." * 60, 12),  # repaired 12 runs ago
        ("." * 45 + "x" * 5 + "." * 50, 45),  # a break in the middle
        ("." * 40 + "xx" + "." * 58, 100),  # too short for a boundary
        ("x" * 3 + "." * 97, 3),
        ("x" + "." * 99, 100),
        ("..x......x......" * 6, 96),  # one rate
    ],
)
def test_newest_segment(newest_first: str, length: int) -> None:
    assert newest_segment(newest_first.replace("x", "f").replace(".", "p")).results == length
