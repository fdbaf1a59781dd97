"""The lines of TAP: test points with their directives, plans, and comments."""

import re
from typing import Final

from service.reports.conversion.names import UNUSUAL_STARTS, portable_name

PLAN: Final = re.compile(r"1\.\.(\d{1,9})(?:\s+#\s*(?:skip\S*\s*)?(.*))?", re.IGNORECASE)
VERSION: Final = re.compile(r"TAP version \d+")
BAIL_OUT: Final = re.compile(r"Bail out!\s*(.*)")
SUBTEST: Final = re.compile(r"#\s*Subtest:\s*(.*)")
# Comments at the end of a report.
DECLARED_FAILURES: Final = re.compile(r"# fail +([1-9]\d{0,8})\d*")
RUN_DURATION: Final = re.compile(r"#\s*(?:duration_ms\s+|time=)([\d.]+)(?:ms)?")

TODO: Final = "todo"
_POINT: Final = re.compile(r"(not )?ok(?:\s+(\d+))?(?:\s+(.*))?")
# A directive needs a space after `#`, because tape doesn't escape titles: `not ok 1 renders #todo items` failed. Only
# `ok` with `#skip` needs none, because a test that wasn't executed must not pass.
_DIRECTIVE: Final = re.compile(r"(?<!\S)#\s+(?:(skip)\S*|(todo)\b)[\s:-]*(.*)", re.IGNORECASE)
_DIRECTIVE_OF_OK: Final = re.compile(r"(?<!\S)#(?:\s*(skip)\S*|\s+(todo)\b)[\s:-]*(.*)", re.IGNORECASE)
# The duration at the end of a description: `# time=12.5ms` of node-tap, `# in 2 ms` of bats.
_DURATION: Final = re.compile(r"(?<!\S)#\s*(?:time=([\d.]+)ms|in ([\d.]+) ms)(?!\S)")
_TIMEOUT: Final = re.compile(r"(?<!\S)#\s*timeout after \d+s")  # of bats, after the description of a failed test
_ESCAPED: Final = re.compile(r"\\([#\\])")


class TestPoint:
    """A test point. `name` is empty if it has no description, and `directive` is `skip`, `todo`, or empty.

    `opens_block` states that the subtest follows in braces. `has_dash` states that a dash is before the description.
    """

    __slots__ = ("directive", "duration_ms", "has_dash", "is_ok", "name", "number", "opens_block", "reason")

    def __init__(self, is_ok: bool, number: str | None, description: str) -> None:
        self.is_ok = is_ok
        self.number = number
        self.directive = self.reason = self.duration_ms = ""
        self.opens_block = description.endswith("{") and description[-2:-1] in ("", " ")
        if self.opens_block:
            description = description[:-1].rstrip()
        if "#" in description:
            description = self._read_directive(description)
        self.has_dash = description.startswith("- ")
        self.name = plain_text(description[2:] if self.has_dash else description)

    @property
    def fails(self) -> bool:
        """Whether the point states a failure: `not ok` with a directive is expected, or wasn't executed."""
        return not (self.is_ok or self.directive)

    def _read_directive(self, description: str) -> str:
        """Read the directive and the duration, and return the description before them."""
        if duration := _DURATION.search(description):
            self.duration_ms = duration[1] or duration[2]
            description = f"{description[: duration.start()]}{description[duration.end() :]}".strip()
        description = _TIMEOUT.sub("", description).rstrip()
        if directive := (_DIRECTIVE_OF_OK if self.is_ok else _DIRECTIVE).search(description):
            self.directive = (directive[1] or directive[2]).lower()
            self.reason = unescape(directive[3].strip())
            description = description[: directive.start()].rstrip()
        return description


def read_point(line: str) -> TestPoint | None:
    """Return the test point of a line without indentation, or None if the line is no test point."""
    found = _POINT.fullmatch(line)
    return TestPoint(not found[1], found[2], (found[3] or "").strip()) if found else None


def unescape(text: str) -> str:
    """Return the text with `#` and `\\` instead of `\\#` and `\\\\`."""
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text


def plain_text(text: str) -> str:
    """Return a description or title without escapes and absolute paths."""
    text = unescape(text.strip())
    return portable_name(text) if text[:1] in UNUSUAL_STARTS or text[1:2] == ":" or text[:7] == "file://" else text
