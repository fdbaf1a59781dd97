"""JSON read value by value: memory holds one value at a time, whatever the size of the file."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from service.reports.errors import ReportError, malformed

_PIECE_BYTES: Final = 256 * 1024
_MAX_VALUE: Final = 32 * 2**20  # characters of one value, which is held whole
_SPACE: Final = re.compile(r"[ \t\n\r\x1e]*")  # 0x1e separates records in JSON text sequences
_CLOSED: Final = frozenset('"}]')
_DECODER: Final = json.JSONDecoder()  # the one of the library, since it takes lone surrogates too


class JsonStream:
    """One or several JSON values in a row. Whoever gets a key from `members` reads its value before the next."""

    def __init__(self, source: BinaryIO) -> None:
        head = source.read(2)
        wide = head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        self._decoder = codecs.getincrementaldecoder("utf-16" if wide else "utf-8-sig")()
        self._source = source
        self._text = ""
        self._at = 0
        self._ended = False
        self._decode(head)

    def peek(self) -> str:
        """The character that the next value begins with, or that stands in its place; empty at the end."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            self._read_more()

    def value(self) -> Any:
        """The next value, whole."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._ended:
                    raise self._error(error.msg) from None
            except (ValueError, RecursionError):
                raise self._error("a value nested too deep, or a number too long") from None
            else:
                if end < len(self._text) or self._ended or self._text[end - 1] in _CLOSED:
                    self._at = end
                    return value
            self._read_more()

    def members(self) -> Iterator[str]:
        """The keys of the object that comes next."""
        self._expect("{")
        while self.peek() != "}":
            key = self.value()
            if not isinstance(key, str):
                raise self._error("a key that is no text")
            self._expect(":")
            yield key
            self._expect_comma_or("}")
        self._at += 1

    def items(self) -> Iterator[Any]:
        """The values in the array that comes next."""
        self._expect("[")
        while self.peek() != "]":
            yield self.value()
            self._expect_comma_or("]")
        self._at += 1

    def expect_end(self) -> None:
        """Nothing may follow."""
        if self.peek():
            raise self._error("something follows the end of the document")

    def _expect(self, character: str) -> None:
        if self.peek() != character:
            raise self._error(f"{character} expected")
        self._at += 1

    def _expect_comma_or(self, end: str) -> None:
        if self.peek() == ",":
            self._at += 1
            if self.peek() == end:
                raise self._error(f"a comma before {end}")
        elif self.peek() != end:
            raise self._error(f"a comma or {end} expected")

    def _read_more(self) -> None:
        """Drops what is done with and reads as much again as is left, so that long values aren't begun too often."""
        self._text = self._text[self._at :]
        self._at = 0
        if len(self._text) > _MAX_VALUE:
            raise self._error(f"a value of more than {_MAX_VALUE} characters, or one without an end")
        piece = self._source.read(max(_PIECE_BYTES, len(self._text)))
        self._ended = not piece
        self._decode(piece)

    def _decode(self, piece: bytes) -> None:
        try:
            self._text += self._decoder.decode(piece, final=self._ended)
        except UnicodeDecodeError as error:
            raise malformed(f"not JSON: {error.reason}") from None

    def _error(self, what: str) -> ReportError:
        context = self._text[self._at : self._at + 40]
        return malformed(f"not JSON: {what}, at {context!r}" if context else f"not JSON: {what}, at the end")
