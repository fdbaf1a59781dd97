"""The properties of a result: named values that a producer adds to a case, such as an issue or an owner."""

from typing import Final

MAX_PROPERTIES: Final = 50  # per result
MAX_PROPERTIES_BYTES: Final = 8 * 1024  # names and values of one result in UTF-8
PROPERTY_LIMITS: Final = (
    f"a result has at most {MAX_PROPERTIES} properties with {MAX_PROPERTIES_BYTES} bytes of names and values together"
)


class PropertyCollector:
    """Collects the properties of one result up to the limits."""

    __slots__ = ("_bytes", "pairs")

    def __init__(self) -> None:
        self.pairs: dict[str, str] = {}
        self._bytes = 0

    def add(self, name: str, value: str) -> bool:
        """Add a value, and return False if it exceeds the limits. Different values of one name become lines of one."""
        earlier = self.pairs.get(name)
        if earlier is not None and f"\n{value}\n" in f"\n{earlier}\n":
            return True
        size = self._bytes + _size(name) + _size(value)
        if size > MAX_PROPERTIES_BYTES or (earlier is None and len(self.pairs) >= MAX_PROPERTIES):
            return False
        self.pairs[name] = value if earlier is None else f"{earlier}\n{value}"
        self._bytes = size + 1
        return True


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))
