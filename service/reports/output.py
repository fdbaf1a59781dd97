"""The output of results that didn't pass, and of their suites. All outputs of one upload are in one file."""

import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import BinaryIO, Final, cast

from typing_extensions import TypedDict

from service.contracts.run_events import ResultIn
from service.reports.attachments import MAX_ATTACHMENTS, Attachment
from service.reports.bounded_text import BoundedText

MAX_FILE_BYTES: Final = 64 * 2**20  # of all outputs of one upload, with their headings
_MAX_SUITE_OUTPUTS: Final = 10_000
_MAX_HEADING: Final = 500  # characters
# pytest writes a heading above each captured text, also if the text is empty. Playwright writes references to files.
# Possessive quantifiers prevent that a text with many headings or references takes exponential time.
_BLANK: Final = re.compile(
    rb"\s*+(?:(?:-++ Captured (?:Log|Out|Err) -++|\[\[ATTACHMENT\|(?:(?!\]\])[^\n])*+\]\])\s*+)*+"
)


class OutputPart(TypedDict):
    """One output in the file. `offset` and `size` are bytes; `sha256` is hexadecimal."""

    name: str
    offset: int
    size: int
    sha256: str


class ReportResult(ResultIn, total=False):
    """A result that a reader has written, with its output.

    `report` is the name of its file in a report that consists of several files.
    """

    output: list[OutputPart]
    report: str


class OutputWriter:
    """Writes outputs to one file, each after a heading, and limits the size of the file. Without a file, drops them."""

    def __init__(self, target: BinaryIO | None = None) -> None:
        self.dropped = 0
        self.suites: list[OutputPart] = []  # belong to the run
        self.attachments: list[Attachment] = []  # files that suites name, which belong to the run
        self.size = 0  # bytes
        self._target = target

    def add(self, heading: str, texts: Iterable[tuple[str, BoundedText]]) -> list[OutputPart]:
        """Write the texts with their names, and return their positions. Omit blank texts."""
        parts = (self._write(heading[:_MAX_HEADING], name, text.encode()) for name, text in texts)
        return [part for part in parts if part]

    def add_suite(self, label: str, texts: Iterable[tuple[str, BoundedText]]) -> None:
        """Write the outputs of a suite. Their names are unique in the upload, such as `2-shop.Cart-system-out.txt`."""
        if len(self.suites) >= _MAX_SUITE_OUTPUTS:
            self.dropped += 1
            return
        for number, part in enumerate(self.add(label, texts), len(self.suites) + 1):
            name = "-".join(filter(None, (str(number), label[:_MAX_HEADING], part["name"])))
            self.suites.append({**part, "name": name})

    def attach(self, attachment: Attachment) -> None:
        """Add a file that a suite names."""
        if len(self.attachments) < MAX_ATTACHMENTS:
            self.attachments.append(attachment)

    def mark(self) -> tuple[int, int, int, int]:
        """Return the current state for `rewind`."""
        return self.size, self.dropped, len(self.suites), len(self.attachments)

    def rewind(self, mark: tuple[int, int, int, int]) -> None:
        """Remove the outputs that were added after a mark, because their report is read again."""
        self.size, self.dropped, suites, attachments = mark
        del self.suites[suites:]
        del self.attachments[attachments:]
        if self._target:
            self._target.seek(self.size)
            self._target.truncate()

    @property
    def notes(self) -> list[str]:
        """The note about outputs that exceed the limits, if there are any."""
        limits = f"at most {MAX_FILE_BYTES // 2**20} MiB per upload and {_MAX_SUITE_OUTPUTS} outputs of suites fit"
        return [f"output: {self.dropped} outputs were not stored; {limits}"] if self.dropped else []

    def _write(self, heading: str, name: str, data: bytes) -> OutputPart | None:
        if _BLANK.fullmatch(data):
            return None
        title = f"=== {heading}: {name} ===\n".encode("utf-8", "replace")
        if self.size + len(title) + len(data) + 1 > MAX_FILE_BYTES:
            self.dropped += 1
            return None
        part: OutputPart = {
            "name": name, "offset": self.size + len(title), "size": len(data), "sha256": sha256(data).hexdigest(),
        }  # fmt: skip
        if self._target:
            self._target.write(title + data + b"\n")
        self.size += len(title) + len(data) + 1
        return part


def output_of(result: ResultIn) -> list[OutputPart]:
    """Return the output of a result."""
    return cast("ReportResult", result).get("output") or []


def set_output(result: ResultIn, parts: Sequence[OutputPart]) -> None:
    """Set the output of a result."""
    if parts:
        cast("ReportResult", result)["output"] = list(parts)
    else:
        cast("ReportResult", result).pop("output", None)


def of_attempt(number: int, parts: Iterable[OutputPart]) -> list[OutputPart]:
    """Return the outputs with names that state the attempt, unless they already state one."""
    prefix = f"attempt-{number}-"
    return [part if part["name"].startswith("attempt-") else {**part, "name": prefix + part["name"]} for part in parts]
