"""Test tools of Node.js with the reporters of this repository, in projects that a test writes."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from scripts.release import write_npm_package
from tests.integrations.steps import INTEGRATIONS

TIMEOUT_S: Final = 300
INSTALL_TIMEOUT_S: Final = 300


@dataclass(frozen=True)
class Session:
    """An execution of a tool: its exit code, its output, and what the reporter wrote. Without evidence, it is empty."""

    code: int
    output: str
    evidence: dict[str, Any]
    results: list[dict[str, Any]]
    upload: bytes  # the file with the results

    @property
    def problems(self) -> str:
        problems: list[str] = self.evidence["problems"]
        return "\n".join(problems)

    def assert_only_failed_tests(self, failed_tests: int, code: int = 1) -> None:
        """Check that the evidence shows no cause of the exit code except for failed tests."""
        found = {name: self.evidence.get(name) for name in ("finished", "exit_code", "failed_tests", "problems")}
        expected = {"finished": True, "exit_code": code, "failed_tests": failed_tests, "problems": []}
        assert (self.code, found) == (code, expected), self.output

    def assert_problem(self, text: str) -> None:
        """Check that the evidence shows this problem, or that it isn't complete if the text is empty."""
        assert self.code != 0, self.output
        if text:
            assert self.evidence["finished"] is True, self.output
            assert text in self.problems, (self.problems, self.output)
        else:
            assert not self.evidence.get("finished"), self.output


@dataclass(frozen=True)
class NodeTool:
    """Packages in a folder `node_modules`, with the reporters."""

    folder: Path

    def execute(
        self, project: Path, files: Mapping[str, str], *command: str, kill_at: str = "", **set_variables: str
    ) -> Session:
        """Write the files of a project, and execute a program of a package in it. Kill it at a line with `kill_at`."""
        spool = project / "spool"
        spool.mkdir(parents=True)
        upload = {"format": 1, "run_id": "run_1", "fields": [["project_id", "shop"]], "live": True}
        (spool / "upload.json").write_text(json.dumps(upload))
        for path, text in files.items():
            (project / path).parent.mkdir(parents=True, exist_ok=True)
            (project / path).write_text(text)
        if not (project / "node_modules").exists():
            (project / "node_modules").symlink_to(self.folder / "node_modules")
        name, *arguments = command
        variables = {"PATH": os.environ["PATH"], "HOME": str(project), "CI": "1", "RESULTS_SPOOL_FOLDER": str(spool)}
        variables |= set_variables
        process = subprocess.Popen(
            [project / "node_modules" / ".bin" / name, *arguments], cwd=project, env=variables, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        return read_session(process, spool, kill_at)


def read_session(process: "subprocess.Popen[str]", spool: Path, kill_at: str) -> Session:
    """Wait for the end of the process, and read what the reporter wrote."""
    assert process.stdout
    output = ""
    try:
        if kill_at:
            while kill_at not in output:
                line = process.stdout.readline()
                assert line, output
                output += line
            os.killpg(process.pid, signal.SIGKILL)
        output += process.communicate(timeout=TIMEOUT_S)[0]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    evidence = [json.loads(path.read_text()) for path in spool.glob("evidence-*.json")]
    assert len(evidence) <= 1, output
    uploads = [path.read_bytes() for path in spool.glob("results-*.ndjson")]
    lines = b"".join(uploads).splitlines(keepends=True)
    results = [json.loads(line) for line in lines if line.endswith(b"\n")]
    return Session(process.returncode, output, evidence[0] if evidence else {}, results, b"".join(uploads))


def install(folder: Path, *packages: str) -> NodeTool:
    """Install packages, and the reporters from tarballs as in a release."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node.js is not installed (Debian packages: nodejs, npm)")
    folder.mkdir()
    (folder / "package.json").write_text('{"private": true}')
    reporter = next(name for name in ("jest", "vitest", "playwright") if any(name in package for package in packages))
    tarball = write_npm_package(INTEGRATIONS / reporter, folder, "0")
    command = ["npm", "install", "--prefer-offline", "--no-audit", "--no-fund", "--silent", *packages, tarball.name]
    subprocess.run(command, cwd=folder, check=True, timeout=INSTALL_TIMEOUT_S)
    return NodeTool(folder)
