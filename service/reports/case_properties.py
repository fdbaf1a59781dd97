"""The properties of each case of a report that states the properties in another part than the results."""

from typing import Final

_MAX_SIZE: Final = 32 * 2**20  # bytes, estimated
_CASE_SIZE: Final = 400  # bytes of a case without its properties
_PROPERTY_SIZE: Final = 100  # bytes of a property without its texts


class CaseProperties:
    """Properties by test ID, in bounded memory."""

    def __init__(self) -> None:
        self._dropped = 0
        self._pairs: dict[str, dict[str, str]] = {}
        self._size = 0

    def add(self, test_id: str, pairs: dict[str, str]) -> None:
        """Add the properties of a test, unless the properties of all tests are too large."""
        self._size += _CASE_SIZE + sum(_PROPERTY_SIZE + len(name) + len(value) for name, value in pairs.items())
        if self._size > _MAX_SIZE:
            self._dropped += len(pairs)
        else:
            self._pairs[test_id.lower()] = pairs

    def find(self, test_id: str) -> dict[str, str] | None:
        """Return the properties of a test."""
        return self._pairs.get(test_id.lower())

    @property
    def notes(self) -> list[str]:
        """The note about the properties that weren't stored, if there are any."""
        limit = f"those of all tests have at most {_MAX_SIZE // 2**20} MiB"
        return [f"properties: {self._dropped} were not stored; {limit}"] if self._dropped else []
