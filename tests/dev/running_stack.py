"""`zof-results dev` in the background, and access to its ready.json and terminal output."""

import json
import os
import signal
import subprocess
import sys
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final

from service.dev.processes import identity, wait_until

_TIMEOUT_S: Final = 60


class RunningStack:
    """A running stack; its data and its terminal output are in `directory`."""

    def __init__(self, directory: Path, *options: str, **settings: str) -> None:
        directory.mkdir(exist_ok=True)
        self.ready_file = directory / "ready.json"
        self._output_file = directory / "output"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RESULTS_")}
        environment = {**inherited, "RESULTS_DEV_DIR": str(directory), **settings}
        with self._output_file.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service", "dev", *options], env=environment, stderr=output
            )

    def await_ready(self) -> "RunningStack":
        wait_until(lambda: self.has_exited or self._is_ready(), _TIMEOUT_S)
        assert self._is_ready(), self.output()
        return self

    def await_output(self, text: str) -> None:
        """Wait for a text that the stack prints after it wrote ready.json."""
        assert wait_until(lambda: text in self.output(), _TIMEOUT_S), self.output()

    @property
    def has_exited(self) -> bool:
        return self.process.poll() is not None

    @property
    def ready(self) -> dict[str, Any]:
        return dict(json.loads(self.ready_file.read_text()))

    def pids(self) -> list[int]:
        """Return the IDs of all processes in ready.json."""
        entries = self.ready["processes"].values()
        return [pid for entry in entries for pid in (entry if isinstance(entry, list) else [entry]) if pid]

    def settings_of(self, component: str) -> dict[str, str]:
        """Return the RESULTS_ variables of the first process of a component."""
        environment = Path(f"/proc/{self.ready['processes'][component][0]}/environ").read_text()
        pairs = (entry.partition("=") for entry in environment.split("\0"))
        return {name: value for name, _, value in pairs if name.startswith("RESULTS_")}

    def run_ids(self) -> list[str] | None:
        """Return the IDs of the runs that the API lists; None if it doesn't respond."""
        with suppress(OSError, HTTPException):
            return [run["run_id"] for run in self.get("/v1/runs?limit=100")["data"]]
        return None

    def get(self, path: str) -> Any:
        """Return the JSON of a successful response. Raises HTTPException for another status."""
        connection = HTTPConnection(self.ready["api_url"].removeprefix("http://"), timeout=5)
        with closing(connection):
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.ready['api_key']}"})
            response = connection.getresponse()
            body = json.load(response)
        if response.status != 200:
            raise HTTPException(f"{path} returns {response.status}: {body}")
        return body

    def _is_ready(self) -> bool:
        """Return whether ready.json is that of this process; a killed stack doesn't remove its file."""
        return self.ready_file.exists() and self.ready["pid"] == self.process.pid

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        if not self.has_exited:
            self.process.send_signal(number)
        return self.process.wait(_TIMEOUT_S)

    def output(self) -> str:
        return self._output_file.read_text()


def have_exited(pids: list[int]) -> bool:
    return all(identity(pid) is None for pid in pids)
