"""Reader of files with one JSON object per line."""

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from service.reports.errors import malformed
from service.reports.json_stream import encoding_of

_CHUNK_BYTES: Final = 256 * 1024
_MAX_LINE: Final = 16 * 2**20  # characters


def read_objects(source: BinaryIO) -> Iterator[dict[str, Any]]:
    """Yield the objects. Lines that don't start with a brace, such as messages on standard error, are ignored.

    Raises ReportError if an object isn't valid JSON or a line is too long.
    """
    for number, line in enumerate(_lines(source), 1):
        if line.startswith("{"):
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):
                raise malformed(f"line {number}: invalid JSON at {line[:40]!r}") from None


def _lines(source: BinaryIO) -> Iterator[str]:
    head = source.read(2)
    decoder = codecs.getincrementaldecoder(encoding_of(head))(errors="replace")
    unfinished = decoder.decode(head)
    while chunk := source.read(_CHUNK_BYTES):
        *lines, unfinished = f"{unfinished}{decoder.decode(chunk)}".split("\n")
        yield from lines
        if len(unfinished) > _MAX_LINE:
            raise malformed(f"a line has more than {_MAX_LINE} characters")
    yield unfinished + decoder.decode(b"", final=True)
