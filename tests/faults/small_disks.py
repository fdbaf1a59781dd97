"""Small disks in memory (tmpfs), which a test fills. Only root can mount them."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from errno import ENOSPC
from pathlib import Path
from typing import Final

_FILLER: Final = "filler"
_BLOCK: Final = bytes(64 * 1024)

POSTGRES: Final = "postgres"
RABBITMQ: Final = "rabbitmq"
FILES: Final = "files"
_SIZES: Final = {POSTGRES: "512m", RABBITMQ: "256m", FILES: "32m"}


class DiskUnavailable(Exception):
    """This account can't mount a disk."""


@dataclass(frozen=True)
class SmallDisk:
    """A mounted disk."""

    path: Path

    def fill(self, free_bytes: int = 0) -> None:
        """Leave at most `free_bytes`."""
        with (self.path / _FILLER).open("ab", buffering=0) as filler:
            while (free := self._free_bytes()) > free_bytes:
                try:
                    filler.write(_BLOCK[: free - free_bytes])
                except OSError as error:
                    if error.errno != ENOSPC:
                        raise
                    return

    def clear(self) -> None:
        (self.path / _FILLER).unlink(missing_ok=True)

    def _free_bytes(self) -> int:
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize


@contextmanager
def small_disks(directory: Path) -> Iterator[dict[str, SmallDisk]]:
    """Mount one disk for each server. Raises DiskUnavailable."""
    with ExitStack() as mounted:
        yield {
            name: mounted.enter_context(_small_disk(directory / f"disk-{name}", size)) for name, size in _SIZES.items()
        }


@contextmanager
def _small_disk(path: Path, size: str) -> Iterator[SmallDisk]:
    path.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(path)]
    mounted = subprocess.run(command, check=False, capture_output=True, text=True)
    if mounted.returncode != 0:
        raise DiskUnavailable(f"{mounted.stderr.strip()} Run the command as root.")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
