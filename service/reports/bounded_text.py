"""Text of bounded size, whose middle is removed if it is too long."""

from collections import deque
from sys import getsizeof
from typing import Final

MAX_TEXT_BYTES: Final = 256 * 1024  # of an encoded text
_END_BYTES: Final = MAX_TEXT_BYTES // 2 - 64  # of the start and of the end of a long text; the rest is for the note
_DETAILS_START: Final = 30_000  # characters; start and end together are shorter than the stored details of a failure
_DETAILS_END: Final = 60_000


class BoundedText:
    """Collects chunks of a text. It stores only the start and the end of a long text."""

    __slots__ = ("_head", "_size", "_tail", "_tail_size")

    def __init__(self, text: str = "") -> None:
        self._head = [text]
        self._tail: deque[str] | None = None  # most texts have none
        self._size = len(text)
        self._tail_size = 0

    def add(self, chunk: str) -> int:
        """Add a chunk, and return the change of the memory in bytes."""
        is_head = self._size < _END_BYTES
        self._size += len(chunk)
        if is_head:
            self._head.append(chunk)
            return getsizeof(chunk)
        return self._add_to_tail(chunk)

    def _add_to_tail(self, chunk: str) -> int:
        if self._tail is None:
            self._tail = deque()
        self._tail.append(chunk)
        self._tail_size += len(chunk)
        change = getsizeof(chunk)
        while self._tail_size - len(self._tail[0]) >= _END_BYTES:
            removed = self._tail.popleft()
            self._tail_size -= len(removed)
            change -= getsizeof(removed)
        return change

    def encode(self) -> bytes:
        """Return the text in UTF-8, with a note instead of the middle if it is longer than MAX_TEXT_BYTES."""
        stored = self._stored()
        data = stored.encode("utf-8", "replace")
        if len(stored) == self._size and len(data) <= MAX_TEXT_BYTES:
            return data
        start, end = (part.decode("utf-8", "ignore") for part in (data[:_END_BYTES], data[-_END_BYTES:]))
        return self._without_middle(start, end).encode()

    def details(self) -> str:
        """Return the text for the details of a failure, with a note instead of the middle if it is too long."""
        stored = self._stored()
        if self._size <= _DETAILS_START + _DETAILS_END:
            return stored
        return self._without_middle(stored[:_DETAILS_START], stored[-_DETAILS_END:])

    def _stored(self) -> str:
        return "".join((*self._head, *(self._tail or ())))

    def _without_middle(self, start: str, end: str) -> str:
        return f"{start}\n[… {self._size - len(start) - len(end)} characters were removed …]\n{end}"
