"""The class of each case of a report that states the classes in another part than the results."""

from array import array
from typing import Final

from service.reports.errors import malformed

_MAX_NAMES: Final = 32 * 2**20  # characters of all classes
_BUCKETS: Final = 4_096
_HASH_MASK: Final = 2**64 - 1


class CaseClasses:
    """Classes by test ID. Each test needs 12 bytes, because a dictionary would need ten times as much."""

    def __init__(self) -> None:
        self._indexes: dict[str, int] = {}  # of the classes
        self._names: list[str] = []
        self._size = 0
        # The hashes of the tests, and the indexes of their classes.
        self._buckets = [(array("Q"), array("I")) for _ in range(_BUCKETS)]

    def add(self, test_id: str, name: str) -> None:
        """Add the class of a test."""
        index = self._indexes.get(name)
        if index is None:
            self._size += len(name)
            if self._size > _MAX_NAMES:
                raise malformed(f"the names of the classes have more than {_MAX_NAMES} characters")
            index = self._indexes[name] = len(self._names)
            self._names.append(name)
        key = _hash(test_id)
        keys, indexes = self._buckets[key % _BUCKETS]
        keys.append(key)
        indexes.append(index)

    def find(self, test_id: str) -> str | None:
        """Return the class of a test."""
        key = _hash(test_id)
        keys, indexes = self._buckets[key % _BUCKETS]
        return self._names[indexes[keys.index(key)]] if key in keys else None


def _hash(test_id: str) -> int:
    return hash(test_id.lower()) & _HASH_MASK
