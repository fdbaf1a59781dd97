"""Executions of commands of the client with the folder and the variables of a CI job."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from click.testing import CliRunner

from service.client.__main__ import client
from tests.gates.excusing import Jobs

TIMEOUT_S: Final = 60
JOB: Final = ("--run-id", "run_1", "--part", "unit", "--attempt", "1")
# The name of a tool whose documented exit codes are the number of failed tests.
COUNTING: Final = ("--tool", "robot")
# The start of a command that exits with 1 only because of failed tests.
STATED: Final = ("--tests-failed-exit", "1")


def heed_signals() -> None:
    """Heed the signals that a shell ignores in the background, where these tests can run."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


@dataclass(frozen=True)
class Execution:
    """An execution that has ended."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def doubts(self) -> list[str]:
        """The conditions that the messages name."""
        lines = [line.strip() for line in self.stderr.splitlines() if line.startswith("  ")]
        return [line.partition(": ")[0] for line in lines if line.partition(": ")[0].isidentifier()]


@dataclass
class Checkout:
    """A folder in which commands are executed, with the variables of a CI job."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_server(cls, folder: Path, jobs: Jobs, key: str) -> "Checkout":
        folder.mkdir()
        url = str(jobs.api.http.make_url("/"))
        return cls(folder, {"RESULTS_URL": url, "RESULTS_API_KEY": key, "RESULTS_PROJECT": "shop"})

    def command(self, *arguments: str) -> dict[str, Any]:
        """Return the arguments of a new process."""
        return self.client("run", *arguments)

    def client(self, *arguments: str) -> dict[str, Any]:
        """Return the arguments of a new process of the client."""
        names = ("RESULTS_", "GITHUB_", "CI", "PYTEST_", "COV_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(names)}
        return {
            "args": [sys.executable, "-m", "service.client", *arguments], "cwd": self.folder,
            "env": {**inherited, "PYTHONPATH": str(Path.cwd()), **self.variables},
        }  # fmt: skip

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen(**{**self.command(*arguments), **pipes, "preexec_fn": heed_signals, **options})

    async def execute(self, *arguments: str, stdin: bytes = b"") -> Execution:
        """Execute a command of the client in a process of its own."""
        process = self.start(**self.client(*arguments))
        return await asyncio.to_thread(self.finish, process, stdin)

    async def invoke(self, *arguments: str, stdin: bytes = b"") -> Execution:
        """Execute a command of the client in this process, without the start of an interpreter.

        `stderr` lacks the message of a ClientError, because only the entry point of a process prints it.
        """
        return await asyncio.to_thread(self._invoke, arguments, stdin)

    def _invoke(self, arguments: Sequence[str], stdin: bytes) -> Execution:
        variables = self.client(*arguments)["env"]
        with contextlib.chdir(self.folder), patch.dict(os.environ, variables, clear=True):
            result = CliRunner().invoke(client, arguments, input=stdin)
        return Execution(result.exit_code, result.stdout_bytes, result.stderr)

    async def run(self, *arguments: str, stdin: bytes = b"") -> Execution:
        return await asyncio.to_thread(self.finish, self.start(*arguments), stdin)

    def finish(self, process: "subprocess.Popen[bytes]", stdin: bytes | None = None) -> Execution:
        try:
            stdout, stderr = process.communicate(stdin, timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            raise
        return Execution(process.returncode, stdout, stderr.decode())

    def write(self, name: str, content: bytes | str) -> str:
        """Write a file, and return its name."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    def failing_with(self, code: int, report: bytes, name: str = "junit.xml") -> list[str]:
        """Return a command that writes a report and ends with a code."""
        source = self.write(f".source-{name.replace('/', '-')}", report)
        return ["--", "sh", "-c", f"cp {source} {name}; exit {code}"]

    @property
    def entries(self) -> list[Path]:
        """The entries of the spool."""
        return sorted((self.folder / ".zof-results" / "spool").glob("2*"))

    def upload(self, entry: Path) -> Any:
        return json.loads((entry / "upload.json").read_bytes())
