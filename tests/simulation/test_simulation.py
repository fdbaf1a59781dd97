"""Simulations of the consumers with virtual time: what must be true for each seed, and defects that must be found.

RESULTS_TEST_SEED sets the first seed, such as one that has failed.
"""

import os
from collections.abc import Iterable
from typing import Final

import pytest

from tests.simulation.mutations import MUTATIONS
from tests.simulation.world import simulate

FIRST_SEED: Final = int(os.environ.get("RESULTS_TEST_SEED", "0"))
FAST_SEEDS: Final = 50
SLOW_SEEDS: Final = 1_000
NIGHTLY_SEEDS: Final = 100_000
CHUNK: Final = 2_000  # seeds of one nightly test


def assert_no_violation(seeds: Iterable[int]) -> None:
    for seed in seeds:
        violations = simulate(FIRST_SEED + seed)
        assert violations == [], f"to repeat it, set RESULTS_TEST_SEED={FIRST_SEED + seed}"


def test_each_message_has_an_outcome_in_a_few_simulations() -> None:
    assert_no_violation(range(FAST_SEEDS))


@pytest.mark.slow
def test_each_message_has_an_outcome_in_many_simulations() -> None:
    assert_no_violation(range(FAST_SEEDS, SLOW_SEEDS))


@pytest.mark.nightly
@pytest.mark.parametrize("first", range(SLOW_SEEDS, NIGHTLY_SEEDS, CHUNK))
def test_each_message_has_an_outcome_in_very_many_simulations(first: int) -> None:
    assert_no_violation(range(first, min(first + CHUNK, NIGHTLY_SEEDS)))


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_simulations_detect_the_mutation(mutation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTATIONS[mutation](monkeypatch)
    for seed in range(SLOW_SEEDS):
        if violations := simulate(seed):
            print(f"seed {seed}: {violations[0]}")
            return
    pytest.fail(f"{SLOW_SEEDS} simulations haven't detected the mutation")


def test_simulations_are_repeatable() -> None:
    logs: list[list[str]] = [[], []]
    for repetition in logs:
        for seed in range(5):
            simulate(seed, repetition)
    assert logs[0] == logs[1]
    assert len(logs[0]) > 50
