"""Builds of the checkout for tests: the client archive and the wheel, and the locked versions of dependencies."""

import fcntl
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from service.client.built_commit import VARIABLE

ROOT: Final = Path(__file__).parents[1]


def build_client() -> None:
    """Build the client that the API serves, as `make run` does, but not concurrently in several test processes."""
    with (ROOT / "pyproject.toml").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run([sys.executable, "-m", "service.client.archive", "--quiet"], cwd=ROOT, check=True)


def build_wheel(folder: Path, commit: str = "") -> Path:
    """Build the wheel of a commit in the folder."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, VARIABLE: commit}, check=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def write_constraints(file: Path) -> Path:
    """Write the locked version of each dependency as a constraint for pip."""
    versions = re.findall(r"^([\w.-]+==.*?) \\$", (ROOT / "requirements-dev.lock").read_text(), re.MULTILINE)
    file.write_text("\n".join(versions))
    return file
