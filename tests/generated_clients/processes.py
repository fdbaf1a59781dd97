"""Processes that generate, compile, and run a client."""

import asyncio
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

TIMEOUT_S: Final = 300


async def run(folder: Path, *command: str | Path, variables: Mapping[str, str] | None = None) -> bytes:
    """Return the stdout of a command that runs in the folder. Fail with its output if it fails."""
    finished = await asyncio.to_thread(
        subprocess.run, command, cwd=folder, env=variables, check=False, capture_output=True, timeout=TIMEOUT_S
    )
    assert finished.returncode == 0, (finished.stdout + finished.stderr).decode()
    stdout: bytes = finished.stdout
    return stdout
