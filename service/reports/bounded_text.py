"""Text of bounded size, whose middle is removed if it is too long."""

from io import StringIO
from typing import Final

_MAX_START: Final = 30_000  # characters; start and end together are shorter than the stored details of a failure
_MAX_END: Final = 60_000
_MAX_BUFFERED: Final = _MAX_START + 2 * _MAX_END


class BoundedText:
    """Collects chunks of text. `size` is the number of characters in memory."""

    __slots__ = ("_buffer", "_buffered", "_removed", "_start")

    def __init__(self) -> None:
        self._start = ""
        self._buffer = StringIO()
        self._buffered = 0
        self._removed = 0

    @property
    def size(self) -> int:
        """The number of characters in memory."""
        return len(self._start) + self._buffered

    def add(self, chunk: str) -> int:
        """Add a chunk, and return the change of the size."""
        before = self.size
        self._buffer.write(chunk)
        self._buffered += len(chunk)
        if self._buffered > _MAX_BUFFERED:
            self._remove_middle()
        return self.size - before

    @property
    def text(self) -> str:
        """The text. A line states the number of characters that were removed."""
        if self.size > _MAX_START + _MAX_END:
            self._remove_middle()
        middle = f"\n[{self._removed} characters removed]\n" if self._removed else ""
        return f"{self._start}{middle}{self._buffer.getvalue()}"

    def _remove_middle(self) -> None:
        text = self._buffer.getvalue()
        if not self._start:
            self._start, text = text[:_MAX_START], text[_MAX_START:]
        end = text[-_MAX_END:]
        self._removed += len(text) - len(end)
        self._buffer = StringIO()
        self._buffer.write(end)
        self._buffered = len(end)
