"""A state is judged again only if it can have changed: passed results leave it for as long as the scores allow."""

import random
from typing import Final

import pytest

from service.domain.ids import CaseKey
from service.evidence.model import EvidenceRun, EvidenceRuns, History, KnownScores
from service.states import histories as states_histories
from service.states.histories import CaseHistories
from service.states.model import HistoryRun, judge_state

CASE: Final = CaseKey(1)


def state(outcomes: str) -> str:
    return judge_state(history(outcomes)).value


def history(outcomes: str) -> History:
    return History(outcomes, EvidenceRuns([EvidenceRun(str(number), None) for number in range(len(outcomes))]))


def history_run(number: int, commit_sha: str | None = None) -> HistoryRun:
    return HistoryRun(f"{number:032x}", 1, commit_sha, is_mass_failure=False, is_outage=False)


async def judged(outcomes: str) -> CaseHistories:
    """Return the judged histories with one case."""
    found = CaseHistories()
    for number in range(len(outcomes)):
        found.insert(history_run(number), {CASE: "f"}, ())
    found.track({CASE: outcomes})
    await found.judge(KnownScores(2**20))
    return found


async def test_a_repaired_case_becomes_flaky_because_it_passes() -> None:
    """The failures are a segment, and with more passed results a part of the segment before, which has a retry."""
    outcomes = "p" + "fff" + "p" * 40 + "r" + "p" * 100
    assert [state("p" * more + outcomes) for more in range(3)] == ["healthy", "healthy", "flaky"]
    found = await judged(outcomes)
    for number in (200, 201):
        assert found.states == {}
        found.insert(history_run(number), {}, [CASE])
        await found.judge(KnownScores(2**20))
    assert found.states == {CASE: "flaky"}


def test_stable_passes_change_neither_the_state_nor_the_segment() -> None:
    generator, stable = random.Random(20261202), 0
    for _ in range(400):
        rates = [(generator.choice((0, 0, 0.05, 0.3, 1)), generator.choice((2, 3, 10, 40))) for _ in range(4)]
        outcomes = "".join(
            generator.choice("ffr") if generator.random() < rate else generator.choice("ppppp-")
            for rate, length in rates
            for _ in range(length)
        )
        now = judge_state(history(outcomes))
        for more in range(1, min(now.stable_passes, 60) + 1):
            later, stable = judge_state(history("p" * more + outcomes)), stable + 1
            assert (later.value, later.results) == (now.value, now.results + more), outcomes
    assert stable > 3_000


async def test_states_are_judged_again_only_if_they_can_have_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    found, calls = await judged("p" * 60 + "fpp" * 30), list[str]()

    def judge(given: History, known: KnownScores) -> object:
        calls.append(given.outcomes)
        return judge_state(given, known)

    monkeypatch.setattr(states_histories, "judge_state", judge)

    async def calls_after(run: HistoryRun, outcome: str) -> int:
        calls.clear()
        found.insert(run, {CASE: "f"} if outcome == "f" else {}, [CASE] if outcome == "p" else [])
        await found.judge(KnownScores(2**20))
        return len(calls)

    assert await calls_after(history_run(1_000, "c1"), "p") == 0
    assert await calls_after(history_run(1_001), "-") == 0
    assert await calls_after(history_run(1_002, "c1"), "p") == 1  # another result of the commit
    assert await calls_after(history_run(1_003), "f") == 1
    assert await calls_after(history_run(999), "-") == 1  # not the newest run
    calls.clear()
    found.remove({history_run(1_001).run_key})
    await found.judge(KnownScores(2**20))
    assert len(calls) == 1
