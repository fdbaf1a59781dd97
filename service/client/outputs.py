"""The destinations of a download: a file that is replaced at the end, or a stream that is written directly."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, Protocol

from service.client.http import ServerError

_CHUNK_BYTES: Final = 2**18
_STDOUT: Final = 1

Write = Callable[[bytes], object]


class Output(Protocol):
    """The destination of one download."""

    @property
    def received(self) -> int:
        """The number of bytes that were received."""

    def prepare(self) -> None:
        """Create what an interrupted command needs to continue."""

    def writing(self, *, resumes: bool) -> AbstractContextManager[Write]:
        """Provide a function that appends bytes. If `resumes` is false, they start at the beginning."""

    def sha256(self) -> str:
        """Return the SHA-256 of the received bytes, in hexadecimal."""

    def finish(self) -> None:
        """Make the complete file visible at its path."""

    def discard(self) -> None:
        """Delete the received bytes if they aren't visible yet."""


class FileOutput:
    """A regular file. The received bytes are in a file next to it, which replaces it after the download."""

    def __init__(self, path: Path, export_id: str) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.{export_id}.part")

    @property
    def received(self) -> int:
        """The number of bytes that were received, including those of an interrupted command."""
        return self._part.stat().st_size if self._part.exists() else 0

    def prepare(self) -> None:
        """Create the file of the received bytes, by which the same command finds the export again."""
        self._part.touch()

    @contextmanager
    def writing(self, *, resumes: bool) -> Iterator[Write]:
        """Provide a function that writes to the file of the received bytes."""
        with self._part.open("ab" if resumes else "wb") as file:
            yield file.write

    def sha256(self) -> str:
        """Return the SHA-256 of the received bytes, in hexadecimal."""
        digest = hashlib.sha256()
        with self._part.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
        return digest.hexdigest()

    def finish(self) -> None:
        """Replace the file at the path."""
        os.replace(self._part, self._path)

    def discard(self) -> None:
        """Delete the received bytes."""
        self._part.unlink()


class StreamOutput:
    """Stdout, a pipe, or a device. The bytes are written directly and can't be removed."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._descriptor: int | None = None if path else _STDOUT
        self._digest = hashlib.sha256()
        self._written = 0

    @property
    def received(self) -> int:
        """The number of bytes that were received and written."""
        return self._written

    def prepare(self) -> None:
        """Do nothing: an interrupted stream can't be continued."""

    @contextmanager
    def writing(self, *, resumes: bool) -> Iterator[Write]:
        """Provide a function that writes to the stream. Raises ServerError if the server can't resume the download."""
        if self._written and not resumes:
            raise ServerError("the server can't resume the download, and a part of the file is already written")
        if self._descriptor is None and self._path is not None:
            self._descriptor = os.open(self._path, os.O_WRONLY)
        yield self._write

    def _write(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        self._written += len(chunk)
        remaining = memoryview(chunk)
        while remaining and self._descriptor is not None:
            remaining = remaining[os.write(self._descriptor, remaining) :]

    def sha256(self) -> str:
        """Return the SHA-256 of the written bytes, in hexadecimal."""
        return self._digest.hexdigest()

    def finish(self) -> None:
        """Close the pipe or device."""
        if self._path is not None and self._descriptor is not None:
            os.close(self._descriptor)

    def discard(self) -> None:
        """Do nothing: the bytes are already written."""


def find_stream(target: Path) -> StreamOutput | None:
    """Return the stream at the path, which `-` names too, or None if the path is that of a regular or a new file."""
    if str(target) == "-":
        return StreamOutput(None)
    if not target.exists() or _is_replaceable(target):
        return None
    return StreamOutput(None if _is_stdout(target) else target)


def _is_replaceable(target: Path) -> bool:
    return target.is_file() and not _is_stdout(target)


def _is_stdout(target: Path) -> bool:
    """Return whether the path leads to the stdout of this process, which can also be a redirection to a file."""
    return os.path.samestat(target.stat(), os.fstat(_STDOUT))
