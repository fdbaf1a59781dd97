"""Runs that another transaction locks for a long time, such as the ingest of a very large report."""

import time
from typing import Final

LOCKED: Final = "the run is locked by another transaction"

_REMEMBERED_S: Final = 4.0  # shorter than the delay after which the broker returns a postponed event
_MAX_RUNS: Final = 10_000

ProducerRun = tuple[str, str]  # organization and run_id, as the event names them


class LockedRuns:
    """The runs whose lock this process didn't get recently. Their events are postponed without another wait."""

    def __init__(self) -> None:
        self._until_s: dict[ProducerRun, float] = {}

    def add(self, run: ProducerRun) -> None:
        """Remember a run for a few seconds."""
        if len(self._until_s) >= _MAX_RUNS:
            self._until_s.clear()
        self._until_s[run] = time.monotonic() + _REMEMBERED_S

    def __contains__(self, run: ProducerRun) -> bool:
        """Return whether the lock was recently not available."""
        until_s = self._until_s.get(run)
        if until_s is None or until_s > time.monotonic():
            return until_s is not None
        self._until_s.pop(run, None)  # another thread can have deleted it
        return False
