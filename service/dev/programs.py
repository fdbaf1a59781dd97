"""The components of the local stack: what all of them can do, and those that are a command."""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final, Self

from service.dev.processes import Process, wait_until
from service.domain.errors import ServiceError

_MAX_RELAUNCHES: Final = 3
_PAUSE_S: Final = 0.3


class ComponentError(ServiceError):
    """A component of the stack can't be prepared or didn't become ready."""


class StackComponent(ABC):
    """A program of the stack: prepared once, then launched and stopped any number of times."""

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
        """Stop orphaned processes, choose ports, and create files. Idempotent; call it before the first launch."""

    @abstractmethod
    def launch(self) -> None:
        """Start the program with the ports and data of the previous launch, without waiting until it is ready."""

    @abstractmethod
    def is_ready(self) -> bool: ...

    def is_healthy(self) -> bool:
        """Return False if the program runs, but only a restart makes it usable. The supervisor then restarts it."""
        return True

    def is_running(self) -> bool:
        return self.process.is_running()

    def start(self, timeout_s: float = 60.0) -> None:
        """Prepare and launch the program; wait until it is ready."""
        self.prepare()
        self.restart(timeout_s)

    def restart(self, timeout_s: float = 60.0) -> None:
        """Stop the program if it is running, launch it, and wait until it is ready; ports and data stay the same."""
        self.stop()
        self.launch()
        self.await_ready(timeout_s)

    def await_ready(self, timeout_s: float = 60.0) -> None:
        """Wait until the program is ready; launch it again if it exits.

        Raises ComponentError after the timeout or after three additional launches.
        """
        relaunches_left = _MAX_RELAUNCHES
        while not self.wait_until_ready(timeout_s):
            if self.is_running() or not relaunches_left:
                self.stop()
                raise ComponentError(f"{self.name} didn't start, see {self.process.log}:\n{self.process.tail_of_log()}")
            relaunches_left -= 1
            time.sleep(_PAUSE_S)  # the kernel might not have released the ports of a killed predecessor yet
            self.launch()

    def wait_until_ready(self, timeout_s: float = 60.0) -> bool:
        """Wait until the program is ready; return False if it exits or the timeout expires before that."""
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


_PROBE_TIMEOUT_S: Final = 2.0
_STOP_TIMEOUT_S: Final = 30.0  # longer than the drain time of the API and of the consumers


class Program(StackComponent):
    """A command; `settings` returns its environment variables at each launch."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        directory: Path,
        *,
        log: Path | None = None,
        settings: Callable[[], Mapping[str, str]] = dict,
        is_ready: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(Process(name, directory, log=log, stop_timeout_s=_STOP_TIMEOUT_S), directory)
        self._command = command
        self._settings = settings
        self._is_ready = is_ready

    def prepare(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.process.stop_orphan()

    def launch(self) -> None:
        self.process.launch(self._command, env={**os.environ, **self._settings()})

    def is_ready(self) -> bool:
        return self._is_ready()


def responds_ok(host: str, port: int, path: str, key: str = "") -> bool:
    """Return whether `GET path` with this API key returns 200."""
    connection = HTTPConnection(host, port, timeout=_PROBE_TIMEOUT_S)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"} if key else {})
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
