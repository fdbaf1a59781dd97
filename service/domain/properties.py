"""The properties of a result: named values that a producer adds to a case, such as an issue or an owner."""

from typing import Final

MAX_PROPERTIES: Final = 50  # per result
MAX_PROPERTIES_BYTES: Final = 8 * 1024  # names and values of one result in UTF-8


class PropertyCollector:
    """Collects the properties of one result up to the limits. `dropped` counts the values above the limits."""

    __slots__ = ("_bytes", "dropped", "pairs")

    def __init__(self) -> None:
        self.pairs: dict[str, str] = {}
        self.dropped = 0
        self._bytes = 0

    def add(self, name: str, value: str) -> None:
        """Add a value. Several values of one name become lines of one value."""
        text = f"{self.pairs[name]}\n{value}" if name in self.pairs else value
        size = self._bytes + len(name.encode(errors="replace")) + len(value.encode(errors="replace")) + 1
        if size > MAX_PROPERTIES_BYTES or (name not in self.pairs and len(self.pairs) >= MAX_PROPERTIES):
            self.dropped += 1
            return
        self.pairs[name] = text
        self._bytes = size
