"""The output of results that didn't pass, and of their suites. All outputs of one upload are in one file.

The files that reports contain, such as screenshots, are in a second file.
"""

import re
from collections import deque
from collections.abc import Iterable, Sequence
from hashlib import sha256
from sys import getsizeof
from typing import BinaryIO, Final, NotRequired, Protocol, cast

from typing_extensions import TypedDict

from service.ingest.contract import ArtifactKind, ResultIn
from service.reports.conversion.attachments import MAX_ATTACHMENTS, Attachment, kind_of, name_of_embedded

MAX_TEXT_BYTES: Final = 256 * 1024  # of an encoded text
_END_BYTES: Final = MAX_TEXT_BYTES // 2 - 64  # of the start and of the end of a long text; the rest is for the note
_DETAILS_START: Final = 30_000  # characters; start and end together are shorter than the stored details of a failure
_DETAILS_END: Final = 60_000
MAX_FILE_BYTES: Final = 64 * 2**20  # of all outputs of one upload, with their headings
MAX_EMBEDDED_BYTES: Final = 16 * 2**20  # of one file that a report contains
MAX_ALL_EMBEDDED_BYTES: Final = 256 * 2**20  # of all these files of one upload
_MAX_TYPE: Final = 200  # characters of a content type
_MAX_SUITE_OUTPUTS: Final = 10_000
_MAX_HEADING: Final = 500  # characters
# pytest writes a heading above each captured text, also if the text is empty. Playwright writes references to files.
# Possessive quantifiers prevent that a text with many headings or references takes exponential time.
_BLANK: Final = re.compile(
    rb"\s*+(?:(?:-++ Captured (?:Log|Out|Err) -++|\[\[ATTACHMENT\|(?:(?!\]\])[^\n])*+\]\])\s*+)*+"
)


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


class OutputPart(TypedDict):
    """One output of a result in the file of outputs. `offset` and `size` are bytes; `sha256` is hexadecimal.

    A part with a `kind` is a file that the report contains, in the file of embedded files.
    """

    name: str
    offset: int
    size: int
    sha256: str
    kind: NotRequired[ArtifactKind]
    content_type: NotRequired[str | None]


class OutputWriter:
    """Writes outputs to one file, each after a heading, and limits the size of the file. Without a file, drops them.

    `embedded` is the file for the files that reports contain.
    """

    def __init__(self, target: BinaryIO | None = None, embedded: BinaryIO | None = None) -> None:
        self.dropped = 0
        self.suites: list[OutputPart] = []  # belong to the run
        self.attachments: list[Attachment] = []  # files that suites name, which belong to the run
        self.size = 0  # bytes
        self.embedded = EmbeddedFiles(embedded)
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

    def embed(self, name: str, content_type: str | None, data: bytes) -> list[OutputPart]:
        """Write a file that the report contains, and return its position. Omit an empty file."""
        return self.embedded.add(name, content_type, data)

    def attach(self, attachment: Attachment) -> None:
        """Add a file that a suite names."""
        if len(self.attachments) < MAX_ATTACHMENTS:
            self.attachments.append(attachment)

    def mark(self) -> tuple[int, ...]:
        """Return the current state for `rewind`."""
        return self.size, self.dropped, len(self.suites), len(self.attachments), *self.embedded.mark()

    def rewind(self, mark: tuple[int, ...]) -> None:
        """Remove the outputs and files that were added after a mark, because their report is read again."""
        self.size, self.dropped, suites, attachments, *embedded = mark
        self.embedded.rewind(*embedded)
        del self.suites[suites:]
        del self.attachments[attachments:]
        if self._target:
            self._target.seek(self.size)
            self._target.truncate()

    @property
    def notes(self) -> list[str]:
        """The notes about outputs and files that exceed the limits, if there are any."""
        limits = f"at most {MAX_FILE_BYTES // 2**20} MiB per upload and {_MAX_SUITE_OUTPUTS} outputs of suites fit"
        notes = [f"output: {self.dropped} outputs were not stored; {limits}"] if self.dropped else []
        return notes + self.embedded.notes

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


class EmbeddedFiles:
    """Writes the files that reports contain to one file, and limits their sizes. Without a file, drops them."""

    def __init__(self, target: BinaryIO | None = None) -> None:
        self.size = 0  # bytes
        self.dropped = 0
        self._target = target

    def add(self, name: str, content_type: str | None, data: bytes) -> list[OutputPart]:
        """Write a file, and return its position. Omit an empty file, and one that exceeds the limits."""
        if not data:
            return []
        if len(data) > MAX_EMBEDDED_BYTES or self.size + len(data) > MAX_ALL_EMBEDDED_BYTES:
            self.dropped += 1
            return []
        content_type = content_type[:_MAX_TYPE] if content_type else None
        stated = name_of_embedded(name, content_type)
        part: OutputPart = {
            "name": stated, "offset": self.size, "size": len(data), "sha256": sha256(data).hexdigest(),
            "kind": kind_of(stated, content_type), "content_type": content_type,
        }  # fmt: skip
        if self._target:
            self._target.write(data)
        self.size += len(data)
        return [part]

    def mark(self) -> tuple[int, int]:
        """Return the current state for `rewind`."""
        return self.size, self.dropped

    def rewind(self, size: int, dropped: int) -> None:
        """Remove the files that were added after a mark."""
        self.size, self.dropped = size, dropped
        if self._target:
            self._target.seek(size)
            self._target.truncate()

    @property
    def notes(self) -> list[str]:
        """The note about files that exceed the limits, if there are any."""
        file_mib, upload_mib = MAX_EMBEDDED_BYTES // 2**20, MAX_ALL_EMBEDDED_BYTES // 2**20
        limits = f"at most {MAX_ATTACHMENTS} per result, {file_mib} MiB per file, and {upload_mib} MiB per upload fit"
        return [f"embedded files: {self.dropped} were not stored; {limits}"] if self.dropped else []


class ReportResult(ResultIn, total=False):
    """A result that a reader has written, with its output and the files that the report contains.

    `report` is the name of its file in a report that consists of several files.
    """

    output: list[OutputPart]
    report: str


class OutputOwner(Protocol):
    """A suite, a case, or an execution with collected outputs by name. None if it has none, as most of them."""

    outputs: dict[str, BoundedText] | None


def output_text(owner: OutputOwner, name: str) -> BoundedText:
    """Return the text of an output. Several elements with one name are one text, in lines of their own."""
    if owner.outputs is None:
        owner.outputs = {}
    known = owner.outputs.get(name)
    if known is not None:
        known.add("\n")
        return known
    owner.outputs[name] = text = BoundedText()
    return text


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
