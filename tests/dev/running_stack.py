"""`zof-results dev` started in the background, and what a program can learn from its ready.json."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final

from service.dev.processes import identity, wait_until

_TIMEOUT_S: Final = 60


class RunningStack:
    """Everything of it is in `directory`, what it says on the terminal too."""

    def __init__(self, directory: Path, *options: str, **settings: str) -> None:
        directory.mkdir(exist_ok=True)
        self.ready_file = directory / "ready.json"
        self._said = directory / "said"
        given = {name: value for name, value in os.environ.items() if not name.startswith("RESULTS_")}
        environment = {**given, "RESULTS_DEV_DIR": str(directory), **settings}
        with self._said.open("w") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service", "dev", *options], env=environment, stderr=said
            )

    def await_ready(self) -> "RunningStack":
        wait_until(lambda: self.ended or self._is_ready(), _TIMEOUT_S)
        assert self._is_ready(), self.said()
        return self

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    @property
    def ready(self) -> dict[str, Any]:
        return dict(json.loads(self.ready_file.read_text()))

    def pids(self) -> list[int]:
        """Of every process that it tells of."""
        entries = self.ready["processes"].values()
        return [pid for entry in entries for pid in (entry if isinstance(entry, list) else [entry]) if pid]

    def settings_of(self, part: str) -> dict[str, str]:
        """What the environment of its first process says."""
        environment = Path(f"/proc/{self.ready['processes'][part][0]}/environ").read_text()
        pairs = (entry.partition("=") for entry in environment.split("\0"))
        return {name: value for name, _, value in pairs if name.startswith("RESULTS_")}

    def run_ids(self) -> list[str] | None:
        """Of the runs that the API lists; None while it doesn't answer."""
        connection = HTTPConnection(self.ready["api_url"].removeprefix("http://"), timeout=5)
        with suppress(OSError, HTTPException):
            connection.request("GET", "/v1/runs", headers={"Authorization": f"Bearer {self.ready['api_key']}"})
            response = connection.getresponse()
            body = json.load(response)
            connection.close()
            return [run["run_id"] for run in body["data"]] if response.status == 200 else None
        return None

    def _is_ready(self) -> bool:
        """Not only left behind by a stack before, which couldn't remove it when it was killed."""
        return self.ready_file.exists() and self.ready["pid"] == self.process.pid

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        if not self.ended:
            self.process.send_signal(number)
        return self.process.wait(_TIMEOUT_S)

    def said(self) -> str:
        return self._said.read_text()


def all_gone(pids: list[int]) -> bool:
    return all(identity(pid) is None for pid in pids)
