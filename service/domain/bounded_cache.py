"""The cache of a process, with a limit in bytes."""

from collections.abc import Hashable, Iterator
from sys import getsizeof
from threading import Lock
from typing import Final, Generic, TypeVar

_ENTRY_BYTES: Final = 110  # of an entry in the dictionary, which has up to twice as many slots as entries

CacheKey = TypeVar("CacheKey", bound=Hashable)
CacheValue = TypeVar("CacheValue")


class BoundedCache(Generic[CacheKey, CacheValue]):
    """A cache of the most recently used entries, in two generations. Several threads can use it.

    A full young generation replaces the old one. A hit in the old generation adds the entry to the young one. Most
    lookups therefore are one lookup in a dictionary, and no order of uses must be maintained.

    The owner removes invalid entries with `clear`, or uses keys that contain the version of what they depend on.
    """

    __slots__ = ("_bytes", "_lock", "_max_bytes", "_old", "_young")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes // 2  # per generation
        self._lock = Lock()
        self._old: dict[CacheKey, CacheValue] = {}
        self._young: dict[CacheKey, CacheValue] = {}
        self._bytes = 0  # of the young generation

    def get(self, key: CacheKey) -> CacheValue | None:
        """Return the value of a key, or None."""
        value = self._young.get(key)
        if value is None and self._old:
            value = self._old.get(key)
            if value is not None:
                self.add(key, value)
        return value

    def add(self, key: CacheKey, value: CacheValue) -> None:
        """Add an entry. None isn't a value."""
        with self._lock:
            if key not in self._young:
                if self._bytes >= self._max_bytes:
                    self._old, self._young, self._bytes = self._young, {}, 0
                self._bytes += _ENTRY_BYTES + _size(key) + _size(value)
            self._young[key] = value

    def clear(self) -> None:
        """Remove all entries."""
        with self._lock:
            self._old, self._young, self._bytes = {}, {}, 0

    def values(self) -> Iterator[CacheValue]:
        """Return the values of all entries. An entry of both generations is repeated."""
        with self._lock:
            return iter([*self._old.values(), *self._young.values()])


def _size(value: object) -> int:
    """Return the memory of a value in bytes, including the items of a tuple. Empty items are shared by all entries."""
    size = getsizeof(value)
    return size + sum(map(_size, filter(None, value))) if isinstance(value, tuple) else size
