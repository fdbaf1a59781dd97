"""Streaming JSON parser that keeps only one value in memory, regardless of the size of the file."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from service.reports.conversion.errors import ReportError, malformed

_CHUNK_BYTES: Final = 256 * 1024
_MAX_VALUE: Final = 32 * 2**20  # characters of one value, which is in memory completely
_SPACE: Final = re.compile(r"[ \t\n\r\x1e]*")  # 0x1e separates records in JSON text sequences
_CLOSED: Final = frozenset('"}]')
_REMEDY: Final = (
    "The file must be complete and contain only the report: wait until the test tool has written it, and write logs to"
    " another file"
)
_DECODER: Final = json.JSONDecoder()  # the standard library accepts lone surrogates, orjson doesn't
_MAX_LINE: Final = 16 * 2**20  # characters


class JsonStream:
    """A sequence of JSON values. After each key of `members`, the caller must read its value."""

    def __init__(self, source: BinaryIO) -> None:
        head = source.read(2)
        self._decoder = codecs.getincrementaldecoder(encoding_of(head))()
        self._source = source
        self._text = ""
        self._at = 0
        self._dropped = 0  # characters before the text
        self._ended = False
        self._decode(head)

    @property
    def position(self) -> int:
        """The number of characters that were read. The difference is the size of the values between two calls."""
        return self._dropped + self._at

    def peek(self) -> str:
        """Return the next character that isn't white space, without consuming it. Return an empty string at the end."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            self._read_more()

    def value(self) -> Any:
        """Return the next value. Raises ReportError."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._ended:
                    raise self._error(error.msg) from None
            except (ValueError, RecursionError):
                raise self._error("a value is nested too deep, or a number has too many digits") from None
            else:
                if end < len(self._text) or self._ended or self._text[end - 1] in _CLOSED:
                    self._at = end
                    return value
            self._read_more()

    def skip(self) -> None:
        """Read the next value without storing it. Only its members or elements must fit into memory."""
        match self.peek():
            case "{":
                for _ in self.members():
                    self.value()
            case "[":
                for _ in self.elements():
                    self.value()
            case _:
                self.value()

    def members(self) -> Iterator[str]:
        """Yield the keys of the object that is the next value."""
        self._expect("{")
        while self.peek() != "}":
            key = self.value()
            if not isinstance(key, str):
                raise self._error("a key isn't a string")
            self._expect(":")
            yield key
            self._expect_comma_or("}")
        self._at += 1

    def items(self) -> Iterator[Any]:
        """Yield the values of the array that is the next value."""
        return (self.value() for _ in self.elements())

    def elements(self) -> Iterator[None]:
        """Yield before each value of the array that is the next value. The caller must read the value."""
        self._expect("[")
        while self.peek() != "]":
            yield
            self._expect_comma_or("]")
        self._at += 1

    def expect_end(self) -> None:
        """Raise ReportError if another value follows."""
        if self.peek():
            raise self._error("unexpected data after the end of the document")

    def _expect(self, character: str) -> None:
        if self.peek() != character:
            raise self._error(f"expected {character}")
        self._at += 1

    def _expect_comma_or(self, end: str) -> None:
        if self.peek() == ",":
            self._at += 1
            if self.peek() == end:
                raise self._error(f"unexpected comma before {end}")
        elif self.peek() != end:
            raise self._error(f"expected a comma or {end}")

    def _read_more(self) -> None:
        """Drop the consumed text and double the remaining text, so that a long value needs few parsing attempts."""
        self._text = self._text[self._at :]
        self._dropped += self._at
        self._at = 0
        if len(self._text) > _MAX_VALUE:
            raise self._error(f"a value has more than {_MAX_VALUE} characters or no end")
        chunk = self._source.read(max(_CHUNK_BYTES, len(self._text)))
        self._ended = not chunk
        self._decode(chunk)

    def _decode(self, chunk: bytes) -> None:
        try:
            self._text += self._decoder.decode(chunk, final=self._ended)
        except UnicodeDecodeError as error:
            raise malformed(f"invalid JSON: {error.reason}") from None

    def _error(self, problem: str) -> ReportError:
        context = self._text[self._at : self._at + 40]
        place = repr(context) if context else "the end of the report"
        return malformed(f"invalid JSON: {problem.removesuffix(' starting at')} at {place}. {_REMEDY}")


def encoding_of(head: bytes) -> str:
    """Return the encoding of a JSON file that starts with these two bytes: UTF-16 requires a byte order mark."""
    return "utf-16" if head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def read_lines(source: BinaryIO) -> Iterator[str]:
    """Yield the lines of a text in UTF-8 or UTF-16 without their ends. Raises ReportError if a line is too long."""
    head = source.read(2)
    decoder = codecs.getincrementaldecoder(encoding_of(head))(errors="replace")
    unfinished = decoder.decode(head)
    while chunk := source.read(_CHUNK_BYTES):
        *lines, unfinished = f"{unfinished}{decoder.decode(chunk)}".split("\n")
        yield from lines
        if len(unfinished) > _MAX_LINE:
            raise malformed(f"a line has more than {_MAX_LINE} characters")
    yield unfinished + decoder.decode(b"", final=True)
