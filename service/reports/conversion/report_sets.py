"""Formats with one file per result: the files of a folder are joined to one report, which is read like any other.

Each file of the joined report is between a line with its name and its size, and a line feed.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import orjson

from service.reports.conversion.errors import ReportError, malformed
from service.reports.format_table import JOINED_HEADING
from service.reports.streams.json import encoding_of

_MAX_FILE_BYTES: Final = 32 * 2**20  # of one file, which is in memory completely
_MAX_HEADING: Final = 64 * 1024  # bytes
_START: Final = f'{{"{JOINED_HEADING}":'.encode()
_SIZE: Final = "size"
Document = Mapping[str, Any]
Arrangement = Callable[[Iterable[Document]], list[int]]


class SetFile(NamedTuple):
    """A file of a set. `open` returns its decompressed content."""

    name: str
    open: Callable[[], AbstractContextManager[BinaryIO]]


def join_files(files: Sequence[SetFile], arrange: Arrangement, target: Path, max_bytes: int) -> int:
    """Write the files to the target, and return the size of their content. `arrange` returns their numbers in order.

    Raises ReportError, which names the file, if a file can't be read, or if all files together are too large.
    """
    sizes: list[int] = []
    order = arrange(_documents(files, sizes, max_bytes))
    with target.open("wb") as joined:
        for number in order:
            with _naming(files[number].name):
                data = _content_of(files[number])
            joined.write(orjson.dumps({JOINED_HEADING: files[number].name, _SIZE: len(data)}) + b"\n" + data + b"\n")
    return sum(sizes)


def _documents(files: Sequence[SetFile], sizes: list[int], max_bytes: int) -> Iterator[Document]:
    """Yield the objects of the files, and add their sizes to the list."""
    total = 0
    for file in files:
        with _naming(file.name):
            data = _content_of(file)
            sizes.append(len(data))
            total += len(data)
            if total > max_bytes:
                raise ReportError("too_large", f"the reports are larger than {max_bytes} bytes after decompression")
            yield _document(data)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Add the name of the file to the error of a report."""
    try:
        yield
    except ReportError as error:
        raise error.of_file(name) from None


def _content_of(file: SetFile) -> bytes:
    with file.open() as content:
        return _checked(content.read(_MAX_FILE_BYTES + 1))


def _checked(data: bytes) -> bytes:
    if len(data) > _MAX_FILE_BYTES:
        raise malformed(f"the result is larger than {_MAX_FILE_BYTES} bytes")
    return data


def _document(data: bytes) -> Document:
    """Return the object of a file. The parser of the standard library accepts some values that orjson doesn't."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        value = _parsed(data)
    if not isinstance(value, dict):
        raise malformed("invalid JSON: the result must be an object")
    return value


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data.decode(encoding_of(data[:2])))
    except RecursionError:
        raise malformed("invalid JSON: a value is nested too deep") from None
    except ValueError as error:  # also of the encoding
        raise malformed(f"invalid JSON: {error}") from None


def read_files(source: BinaryIO) -> Iterator[tuple[str, Document]]:
    """Yield the name and the object of each file of a joined report. The name of an only file is empty.

    Raises ReportError, which names the file, if a file isn't a JSON object.
    """
    is_joined = source.read(len(_START)) == _START
    source.seek(0)
    if not is_joined:
        yield "", _document(_checked(source.read(_MAX_FILE_BYTES + 1)))
    while is_joined and (line := source.readline(_MAX_HEADING)):
        name, size = _heading(line)
        with _naming(name):
            document = _document(source.read(size))
        source.read(1)
        yield name, document


def _heading(line: bytes) -> tuple[str, int]:
    heading = _document(line)
    name, size = heading.get(JOINED_HEADING), heading.get(_SIZE)
    if not isinstance(name, str) or not isinstance(size, int) or not 0 <= size <= _MAX_FILE_BYTES:
        raise malformed("the heading of a joined file is invalid")
    return name, size
