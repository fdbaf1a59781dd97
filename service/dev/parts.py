"""What every part of the stack can do, so that a supervisor, a test and a benchmark treat them alike."""

import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final, Self

from service.dev.processes import Process, wait_until
from service.domain.errors import ServiceError

_MORE_LAUNCHES: Final = 3
_PAUSE_S: Final = 0.3


class PartError(ServiceError):
    """A part of the stack didn't become ready."""


class Part(ABC):
    """One program of the stack: prepared once, then launched, ready after a while, and stopped."""

    process: Process

    def __init__(self, process: Process, directory: Path) -> None:
        self.process = process
        self.directory = directory

    @property
    def name(self) -> str:
        return self.process.name

    @property
    def pid(self) -> int | None:
        return self.process.pid

    @abstractmethod
    def prepare(self) -> None:
        """Ends leftovers, chooses ports and makes files. Idempotent; once before the first launch."""

    @abstractmethod
    def launch(self) -> None:
        """Starts the program without waiting for it, on the ports and data of the launch before."""

    @abstractmethod
    def is_ready(self) -> bool: ...

    def is_running(self) -> bool:
        return self.process.is_running()

    def start(self, timeout_s: float = 60.0) -> None:
        """Prepares, launches and waits until it is ready."""
        self.prepare()
        self.restart(timeout_s)

    def restart(self, timeout_s: float = 60.0) -> None:
        """Stops it where it still runs, launches it and waits until it is ready; ports and data stay."""
        self.stop()
        self.launch()
        self.await_ready(timeout_s)

    def await_ready(self, timeout_s: float = 60.0) -> None:
        """Waits until it is ready, launching it again where it ended. Raises PartError where that doesn't help."""
        launches_left = _MORE_LAUNCHES
        while not self.wait_until_ready(timeout_s):
            if self.is_running() or not launches_left:
                self.stop()
                raise PartError(f"{self.name} didn't start, see {self.process.log}:\n{self.process.last_words()}")
            launches_left -= 1
            time.sleep(_PAUSE_S)  # what a killed predecessor held may take a moment to be free
            self.launch()

    def wait_until_ready(self, timeout_s: float = 60.0) -> bool:
        """False when it ended, or the time did, before it was ready."""
        wait_until(lambda: not self.is_running() or self.is_ready(), timeout_s)
        return self.is_running() and self.is_ready()

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        self.process.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
