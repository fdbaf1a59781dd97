"""The search for quarantines of many cases: it pauses for other tasks, and its CPU time is limited."""

import asyncio
from collections.abc import Sequence

import pytest

from service.domain.errors import Unavailable
from service.domain.ids import CaseKey
from service.quarantines import find_excused
from service.quarantines.find_excused import ExcuseSearch
from service.quarantines.model import ActiveQuarantine, ActiveQuarantines, CaseMatcher, CaseTexts

CASES = [CaseTexts(CaseKey(number), "shop", f"{'a' * 900}--{number}b", {}) for number in range(100)]
SLOW_GLOBS = [f"*{'a?' * (200 + number)}b*" for number in range(10)]


def search(*globs: str) -> ExcuseSearch:
    quarantines = [ActiveQuarantine(f"qua_{n}", CaseMatcher(name=glob)) for n, glob in enumerate(globs)]
    return ExcuseSearch(ActiveQuarantines(quarantines))


async def count_turns(turns: list[None]) -> None:
    while True:
        turns.append(None)
        await asyncio.sleep(0)


async def test_other_tasks_run_between_slices() -> None:
    turns: list[None] = []
    other = asyncio.create_task(count_turns(turns))
    found = await search(*SLOW_GLOBS, "*7b").find(CASES)
    other.cancel()
    assert found == {CaseKey(number): "qua_10" for number in range(7, 100, 10)}
    assert len(turns) > 10


async def test_search_over_the_budget_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A case that wasn't compared is neither excused nor not excused."""
    monkeypatch.setattr(find_excused, "_BUDGET_S", 0.02)
    searching = search(*SLOW_GLOBS)

    async def find_in_batches(cases: Sequence[CaseTexts]) -> None:
        for case in cases:  # each call takes less than the budget
            await searching.find([case])

    assert await search("*").find(CASES) == {case.case_key: "qua_0" for case in CASES}
    with pytest.raises(Unavailable, match=r"^quarantines: .* use fewer globs") as caught:
        await find_in_batches(CASES * 100)
    assert caught.value.retry_after_s == 30
