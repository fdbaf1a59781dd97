"""The diagnostics of a test point in TAP: a block of YAML, or comments.

The reader of YAML reads only what TAP producers write: keys, scalars, and blocks of text. Nested values stay text.
"""

import json
import re
from collections.abc import Iterator, Mapping
from textwrap import dedent
from typing import Final, NamedTuple

from service.ingest.contract import MAX_LINE, Failure
from service.reports.conversion.attempts import MAX_COLLECTED, make_failure

_KEY: Final = re.compile(r"( *)(?:'([^']+)'|\"([^\"]+)\"|([\w.-]+)):(?:\s+(.*))?")
_FOLD: Final = re.compile(r"(?<!\n)\n(?![\n ])")
_HEADING: Final = re.compile(r"^( *)'([^'\n]+:)': [|>][-+\d]*$", re.MULTILINE)  # of AVA, before a block of text
_NULL: Final = ("~", "null", "")
_MESSAGES: Final = ("message", "error")
_COMPARED: Final = ("expected", "wanted", "expect", "actual", "found", "got")
# Keys at the end of the details: they explain less than a stack, whose first line often is the message.
_LAST: Final = ("stack", "trace")
_UNLABELED: Final = ("diff", "details", *_LAST)
_AFTER_STACK: Final = ("operator", "assertion", "compare", "tapCaught", "source")
# Keys that don't explain a failure, or that are fields of the result.
_OMITTED: Final = frozenset(
    {"duration_ms", "location", "failureType", "code", "name", "type", "severity", "file", "line", "at", "column",
     "stdio", "cwd", "externalID", "command", "args", *_MESSAGES, *_COMPARED, *_LAST, *_AFTER_STACK}
)  # fmt: skip
_DURATION: Final = "duration_ms:"
_CLASS: Final = re.compile(r"[A-Za-z][\w.]*")
_AT_FILE: Final = re.compile(r"(?:.*\()?(?:file://)?([^()\n]+?):(\d+)(?::\d+)?\)?")
_FILE_NAME: Final = re.compile(r"fileName:\s*['\"]?([^'\"\n]+)")
_LINE_NUMBER: Final = re.compile(r"lineNumber:\s*(\d+)")
# The location in comments: of Test::More, and of bats.
_LOCATION: Final = re.compile(r" *(?:at (.+?) line (\d+)\.?|\(.*in test file (.+?), line (\d+)\)?.*)")
_TITLE: Final = re.compile(r" *Failed (?:\(TODO\) )?test\b.*")
# Comments about all test points: of Test::More, and of Mocha.
_SUMMARY: Final = re.compile(r"Looks like you .*|(?:tests|pass|fail) +\d+")
_FOREIGN: Final = ("node:", "node_modules/")
_MAX_LOCATION: Final = 1_000  # characters of a text that can state a location


class _Location(NamedTuple):
    """A file and a line that a diagnostic states."""

    file: str
    line: int


class Diagnostics:
    """Collects the diagnostics of one test point up to a limit."""

    __slots__ = ("_comments", "_fields", "_lines", "_size")

    def __init__(self) -> None:
        self._comments: list[str] = []
        self._lines: list[str] = []
        self._fields: Mapping[str, str] | None = None
        self._size = 0

    def add_comment(self, text: str) -> None:
        """Add a line without the marker of the comment."""
        if not _SUMMARY.fullmatch(text):
            self._add(self._comments, text)

    def add_yaml(self, line: str) -> None:
        """Add a line of the YAML block."""
        self._add(self._lines, line)

    @property
    def has_yaml(self) -> bool:
        """Whether a YAML block states the failure."""
        return bool(self._lines)

    @property
    def duration_ms(self) -> str:
        """The value of `duration_ms`, which most test points of node:test have as their only key."""
        stated = (line.split(":", 1)[1] for line in self._lines if line.lstrip(" ").startswith(_DURATION))
        return next(stated, "").strip()

    @property
    def fields(self) -> Mapping[str, str]:
        """The values of the YAML block by key, without empty ones."""
        if self._fields is None:
            self._fields = {key: text for key, text in _fields_of(self._lines) if text not in _NULL}
        return self._fields

    @property
    def location(self) -> _Location | None:
        """The location that the diagnostics state, except for one in a library."""
        found = _location_in(self.fields) or _location_in_lines(self._message_lines)
        is_foreign = found is None or any(part in found.file for part in _FOREIGN)
        return None if is_foreign or found is None or not 0 < found.line <= MAX_LINE else found

    @property
    def failure(self) -> Failure:
        """The failure, without texts that are missing."""
        kind = self.fields.get("name") or self.fields.get("failureType") or ""
        lines = self._message_lines
        message = _message_in(lines)
        written = dedent("\n".join(lines)).strip()
        texts = ("" if written == message else written, *_details_of(self.fields), self._comments_after_yaml)
        details = "\n".join(filter(None, texts))[:MAX_COLLECTED]
        return make_failure(kind if _CLASS.fullmatch(kind) else None, message, details)

    @property
    def _message_lines(self) -> list[str]:
        """The lines of the message, which the comments state if there is no YAML block."""
        if not self.has_yaml:
            return self._comments
        return next((text for key in _MESSAGES if (text := self.fields.get(key, "").strip())), "").split("\n")

    @property
    def _comments_after_yaml(self) -> str:
        return dedent("\n".join(self._comments)).strip("\n") if self.has_yaml else ""

    def _add(self, lines: list[str], line: str) -> None:
        if self._size < MAX_COLLECTED:
            self._size += len(line) + 1
            lines.append(line[:MAX_COLLECTED])


def _fields_of(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the outermost keys with their texts."""
    first = next((line for line in lines if line.strip()), "")
    indent = len(first) - len(first.lstrip(" "))
    key, style, block = "", "", list[str]()
    for line in lines:
        found = _KEY.fullmatch(line)
        if found and len(found[1]) == indent:
            if key:
                yield key, _text_of(style, block)
            key, style, block = found[2] or found[3] or found[4], (found[5] or "").strip(), []
        else:
            block.append(line)
    if key:
        yield key, _text_of(style, block)


def _text_of(scalar: str, block: list[str]) -> str:
    """Return the text of a scalar, of a block of text, or of nested values."""
    text = dedent("\n".join(block))
    if scalar[:1] == ">":
        return _FOLD.sub(" ", text).replace("\n\n", "\n")
    if not scalar or scalar[:1] == "|":
        return text if scalar else _HEADING.sub(r"\1\2", text)
    return _unquoted(" ".join([scalar, *map(str.strip, block)]).strip())


def _unquoted(scalar: str) -> str:
    quoted = len(scalar) > 1 and scalar[0] == scalar[-1]
    if quoted and scalar[0] == "'":
        return scalar[1:-1].replace("''", "'")
    if quoted and scalar[0] == '"':
        try:
            return str(json.loads(scalar))
        except ValueError:
            return scalar[1:-1]
    return scalar


def _location_in(fields: Mapping[str, str]) -> _Location | None:
    if "file" in fields and fields.get("line", "").isdecimal():
        return _Location(fields["file"], int(fields["line"][:9]))
    text = (fields.get("location") or fields.get("at") or "")[:_MAX_LOCATION]
    file, line = _FILE_NAME.search(text), _LINE_NUMBER.search(text)
    if file and line:
        return _Location(file[1].strip(), int(line[1][:9]))
    found = _AT_FILE.fullmatch(text.strip())
    return _Location(found[1].strip(), int(found[2][:9])) if found else None


def _location_in_lines(lines: list[str]) -> _Location | None:
    short = (line for line in lines if len(line) < _MAX_LOCATION)
    found = next((match for line in short if (match := _LOCATION.fullmatch(line))), None)
    return _Location(found[1] or found[3], int((found[2] or found[4])[:9])) if found else None


def _message_in(lines: list[str]) -> str:
    """Return the lines without those that repeat the name and state the location."""
    return dedent("\n".join(line for line in lines if not _repeats_location(line))).strip()


def _repeats_location(line: str) -> bool:
    return len(line) < _MAX_LOCATION and bool(_LOCATION.fullmatch(line) or _TITLE.fullmatch(line))


def _details_of(fields: Mapping[str, str]) -> Iterator[str]:
    """Yield the texts that explain a failure: compared values first, the stack last."""
    for key in (*_COMPARED, *(key for key in fields if key not in _OMITTED), *_LAST, *_AFTER_STACK):
        if text := fields.get(key, "").strip("\n"):
            is_long = "\n" in text
            yield text if key in _UNLABELED else f"{key}:\n{text}" if is_long else f"{key}: {text}"
