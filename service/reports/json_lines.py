"""Reader of files with one JSON object per line."""

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from service.reports.errors import malformed
from service.reports.json_stream import encoding_of

_CHUNK_BYTES: Final = 256 * 1024
_MAX_LINE: Final = 16 * 2**20  # characters
_FAILED_PACKAGE: Final = "FAIL\t"
_MAX_SHOWN: Final = 200  # characters of a line


@dataclass(slots=True)
class UnreadableLines:
    """Counts lines that start with a brace but contain no valid object, such as the last one of a truncated file.

    `failed_package` is the first line that states the failure of a package as text, such as `FAIL shop [build failed]`.
    """

    count: int = 0
    first: int = 0
    failed_package: str = ""

    def add(self, number: int) -> None:
        """Count the line with this number."""
        self.count += 1
        self.first = self.first or number


def read_objects(source: BinaryIO, unreadable: UnreadableLines, without: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the objects of the lines, except for lines that contain the text `without`.

    Lines that don't start with a brace, such as messages on standard error, are ignored. Raises ReportError if a line
    is too long.
    """
    for number, line in enumerate(read_lines(source), 1):
        if not line.startswith("{"):
            if line.startswith(_FAILED_PACKAGE):
                unreadable.failed_package = unreadable.failed_package or line[:_MAX_SHOWN].rstrip()
            continue
        if without and without in line:
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            unreadable.add(number)
        else:
            yield value


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
