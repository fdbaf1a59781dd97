"""The journal of a producer: the IDs that it attempted to send, and those whose receipt was confirmed, on disk."""

import os
import time
from pathlib import Path
from typing import Final

_ATTEMPTED: Final = "attempted"
_CONFIRMED: Final = "confirmed"


class Journal:
    """An append-only file. Each line is on disk before the call returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("a")

    def record_attempt(self, event_id: str) -> None:
        self._append(_ATTEMPTED, event_id)

    def record_confirm(self, event_id: str) -> None:
        self._append(_CONFIRMED, event_id)

    def attempted(self) -> set[str]:
        return set(self._read(_ATTEMPTED))

    def confirmed(self) -> dict[str, float]:
        """Return the confirmed IDs with the time of the first confirm, in seconds since 1970."""
        return self._read(_CONFIRMED)

    def close(self) -> None:
        self._file.close()

    def _append(self, state: str, event_id: str) -> None:
        self._file.write(f"{state} {time.time()} {event_id}\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _read(self, state: str) -> dict[str, float]:
        times: dict[str, float] = {}
        for line in self._path.read_text().splitlines():
            recorded_state, recorded_at, event_id = line.split(" ", 2)
            if recorded_state == state:
                times.setdefault(event_id, float(recorded_at))
        return times
