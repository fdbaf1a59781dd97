"""The quarantines that excuse failing cases, found in slices between which other tasks run."""

from collections.abc import Iterable

from service.domain.ids import CaseKey
from service.domain.quarantines import ActiveQuarantines, CaseTexts
from service.usecases.quarantines.glob_budget import GlobBudget


class ExcuseSearch:
    """Matches cases with the active quarantines of a project. All calls of one instance share a budget of CPU time."""

    def __init__(self, active: ActiveQuarantines) -> None:
        self._active = active
        self._budget = GlobBudget("quarantines: comparing the globs with the failures")

    @property
    def is_empty(self) -> bool:
        """Whether no case can match."""
        return self._active.is_empty

    async def find(self, cases: Iterable[CaseTexts]) -> dict[CaseKey, str]:
        """Return the oldest quarantine of each case that one matches.

        Raises Unavailable if the budget is used up, because the other cases are then neither excused nor not excused.
        """
        spread = self._budget.spread(self._active.match(cases))
        return {excused.case_key: excused.quarantine_id async for excused in spread if excused is not None}
