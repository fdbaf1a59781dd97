"""Chunks of an XML file in an encoding that expat supports, with or without its invalid characters."""

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO, Final

from service.reports.errors import malformed
from service.reports.metadata import ReportMetadata
from service.reports.xml_repair import XmlRepair

_CHUNK_BYTES: Final = 64 * 1024
_HEAD_BYTES: Final = 4_096
# Space that scripts and templates write before the declaration, where XML permits none.
_LEADING_SPACE: Final = re.compile(rb"\A(?:\xef\xbb\xbf)?[ \t\r\n]+(?=<\?xml)")
_DECLARED: Final = re.compile(rb"""^(?:\xef\xbb\xbf)?<\?xml[^>]*?\bencoding\s*=\s*["']([^"']*)["']""")
_TWO_BYTE_STARTS: Final = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"<\0": "utf-16le", b"\0<": "utf-16be"}
_KNOWN_TO_EXPAT: Final = frozenset({"utf-8", "iso8859-1", "ascii"})


def read_xml_chunks(source: BinaryIO) -> tuple[str, Iterator[bytes]]:
    """Return the encoding to pass to expat, and the file in chunks of this encoding."""
    head = _read_head(source)
    encoding = _TWO_BYTE_STARTS.get(head[:2]) or _declared_encoding(head)
    if encoding in _KNOWN_TO_EXPAT or head[:2] in _TWO_BYTE_STARTS:
        return encoding, _chunks(head, source)
    return "utf-8", _to_utf_8(_chunks(head, source), encoding)


def read_repaired_chunks(source: BinaryIO, metadata: ReportMetadata) -> tuple[str, Iterator[bytes]]:
    """Return the same in UTF-8, without characters that XML doesn't permit. Counts the replaced ones."""
    head = _read_head(source)
    repair = XmlRepair(_TWO_BYTE_STARTS.get(head[:2]) or _declared_encoding(head))
    return "utf-8", _repaired(_chunks(head, source), repair, metadata)


def _read_head(source: BinaryIO) -> bytes:
    return _LEADING_SPACE.sub(b"", source.read(_HEAD_BYTES))


def _repaired(chunks: Iterator[bytes], repair: XmlRepair, metadata: ReportMetadata) -> Iterator[bytes]:
    for chunk in chunks:
        yield repair.repair(chunk)
    yield repair.repair(b"", final=True)
    metadata.replaced_characters = repair.replaced


def _declared_encoding(head: bytes) -> str:
    declaration = _DECLARED.match(head)
    name = declaration[1].decode("ascii", "replace") if declaration else "utf-8"
    if name.lower().startswith("utf-16"):  # can't be true: the declaration itself has one byte per character
        return "utf-8"
    try:
        b"<".decode(name)  # raises LookupError for codecs that aren't text encodings, such as zlib and base64
        return codecs.lookup(name).name
    except (LookupError, ValueError):
        raise malformed(f"the XML declaration has an unknown encoding: {name[:50]!r}") from None


def _chunks(head: bytes, source: BinaryIO) -> Iterator[bytes]:
    yield head
    while chunk := source.read(_CHUNK_BYTES):
        yield chunk


def _to_utf_8(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    for chunk in chunks:
        yield decoder.decode(chunk).encode()
    yield decoder.decode(b"", final=True).encode()
