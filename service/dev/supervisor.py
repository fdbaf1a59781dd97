"""Keeps parts running: starts them together, launches those that end again, stops all in reverse order."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, NoReturn

from service.dev.parts import Part

_TICK_S: Final = 0.1
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 10.0
_STEADY_AFTER_S: Final = 30.0


@dataclass
class Watched:
    """A part, and how often it has ended soon after a launch."""

    part: Part
    launched_at: float = 0.0
    launch_due_at: float | None = None
    early_ends: int = 0

    def launch(self) -> None:
        self.launched_at = time.monotonic()
        self.launch_due_at = None
        self.part.launch()

    def schedule(self) -> float:
        """Sets the next launch, later each time where the part keeps ending early; returns the pause in seconds."""
        now = time.monotonic()
        self.early_ends = 0 if now - self.launched_at > _STEADY_AFTER_S else self.early_ends + 1
        pause_s = min(_FIRST_PAUSE_S * 2.0**self.early_ends, _LONGEST_PAUSE_S)
        self.launch_due_at = now + pause_s
        return pause_s


class Supervisor:
    """Owns the parts from their preparation to their stop. `changed` is called whenever a pid has changed."""

    def __init__(self, say: Callable[[str], None], changed: Callable[[], None] = lambda: None) -> None:
        self._say = say
        self._changed = changed
        self._watched: list[Watched] = []

    def start(self, *parts: Part) -> None:
        """Launches prepared parts together and waits until all are ready."""
        for part in parts:
            self._watched.append(watched := Watched(part))
            watched.launch()
        for part in parts:
            part.await_ready()

    def watch(self) -> NoReturn:
        """Tends the parts until an exception, such as the one of a signal, ends it."""
        while True:
            self.tend()
            time.sleep(_TICK_S)

    def tend(self) -> None:
        """Looks once at each part, and launches what has ended and waited long enough."""
        for watched in self._watched:
            self._tend(watched)

    def stop(self) -> None:
        """Stops the parts, the last started first; all of them, even where one can't be stopped."""
        with ExitStack() as stops:
            for watched in self._watched:
                stops.callback(watched.part.stop)
        self._watched.clear()

    def _tend(self, watched: Watched) -> None:
        if watched.part.is_running():
            return
        if watched.launch_due_at is None:
            self._note_end(watched)
        elif time.monotonic() >= watched.launch_due_at:
            self._launch(watched)

    def _note_end(self, watched: Watched) -> None:
        part, pause_s = watched.part, watched.schedule()
        code = part.process.exit_code
        self._say(f"{part.name} ended with {code}, see {part.process.log}; launching it again in {pause_s:g} s")
        self._changed()

    def _launch(self, watched: Watched) -> None:
        try:
            watched.launch()
        except Exception as error:  # one part that can't be launched must not take the others down
            self._say(f"{watched.part.name} can't be launched ({error}); trying again in {watched.schedule():g} s")
        self._changed()


def prepare(parts: Sequence[Part]) -> None:
    """Prepares parts in the order in which they stop, so that leftovers end before what they need."""
    for part in reversed(parts):
        part.prepare()
