"""A list of JSON values that is partly in a temporary file, so that the memory is bounded."""

import json
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import IO, Any, Self


class SpooledValues:
    """Values that are read after the last one was added."""

    def __init__(self) -> None:
        self._values: list[Any] = []
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._file:
            self._file.close()

    def add(self, value: Any) -> None:
        """Add a value, which stays in memory."""
        self._values.append(value)

    def write(self) -> None:
        """Move the values from memory to the file, as one line."""
        self._file = self._file or TemporaryFile()  # noqa: SIM115 - `__exit__` closes it
        self._file.write(json.dumps(self._values).encode() + b"\n")
        self._values.clear()

    def __iter__(self) -> Iterator[Any]:
        if self._file:
            self._file.seek(0)
            for line in self._file:
                yield from json.loads(line)
        yield from self._values
