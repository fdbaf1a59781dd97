"""The properties of a result: named values that a producer adds to a case, such as an issue or an owner."""

from typing import Final

MAX_PROPERTIES: Final = 50  # per result
MAX_PROPERTIES_BYTES: Final = 8 * 1024  # names and values of one result in UTF-8


class PropertyCollector:
    """Collects the properties of one result up to the limits."""

    __slots__ = ("_bytes", "pairs")

    def __init__(self) -> None:
        self.pairs: dict[str, str] = {}
        self._bytes = 0

    def add(self, name: str, value: str) -> bool:
        """Add a value, and return False if it exceeds the limits. Several values of one name become lines of one."""
        text = f"{self.pairs[name]}\n{value}" if name in self.pairs else value
        size = self._bytes + len(name.encode(errors="replace")) + len(value.encode(errors="replace")) + 1
        if size > MAX_PROPERTIES_BYTES or (name not in self.pairs and len(self.pairs) >= MAX_PROPERTIES):
            return False
        self.pairs[name] = text
        self._bytes = size
        return True
