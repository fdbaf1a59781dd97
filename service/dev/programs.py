"""The API and consumer processes as components of the local stack."""

import os
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

from service.dev.components import StackComponent
from service.dev.processes import Process

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
