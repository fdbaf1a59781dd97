"""Values that are read before the part of a report that needs them, and kept in little memory."""

import json
from array import array
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import IO, Any, Final, Self

_MAX_SIZE: Final = 32 * 2**20  # characters of all texts
_BUCKETS: Final = 4_096
_HASH_MASK: Final = 2**64 - 1


class TextsByTest:
    """Texts by test ID, for reports that state the text in another part than the results.

    Each test needs 12 bytes, because a dictionary would need ten times as much. Equal texts are stored once.
    """

    def __init__(self) -> None:
        self._indexes: dict[str, int] = {}  # of the texts
        self._texts: list[str] = []
        self._size = 0
        # The hashes of the tests, and the indexes of their texts. Small reports fill only a few buckets.
        self._buckets: dict[int, tuple[array[int], array[int]]] = {}

    def add(self, test_id: str, text: str) -> bool:
        """Add the text of a test, and return False if all texts together are too large."""
        index = self._indexes.get(text)
        if index is None:
            if self._size + len(text) > _MAX_SIZE:
                return False
            self._size += len(text)
            index = self._indexes[text] = len(self._texts)
            self._texts.append(text)
        key = _hash(test_id)
        bucket = self._buckets.get(key % _BUCKETS)
        if bucket is None:
            bucket = self._buckets[key % _BUCKETS] = array("Q"), array("I")
        bucket[0].append(key)
        bucket[1].append(index)
        return True

    def find(self, test_id: str) -> str | None:
        """Return the text of a test."""
        key = _hash(test_id)
        keys, indexes = self._buckets.get(key % _BUCKETS, ((), ()))
        return self._texts[indexes[keys.index(key)]] if key in keys else None


def _hash(test_id: str) -> int:
    return hash(test_id.lower()) & _HASH_MASK


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
