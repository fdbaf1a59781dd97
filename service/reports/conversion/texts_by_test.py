"""A text of each test of a report that states the text in another part than the results."""

from array import array
from typing import Final

_MAX_SIZE: Final = 32 * 2**20  # characters of all texts
_BUCKETS: Final = 4_096
_HASH_MASK: Final = 2**64 - 1


class TextsByTest:
    """Texts by test ID. Each test needs 12 bytes, because a dictionary would need ten times as much.

    Equal texts are stored once.
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
