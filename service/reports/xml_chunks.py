"""Chunks of an XML file in an encoding that expat supports."""

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO, Final

from service.reports.errors import malformed

_CHUNK_BYTES: Final = 64 * 1024
_HEAD_BYTES: Final = 1024
_DECLARED: Final = re.compile(rb"""^(?:\xef\xbb\xbf)?<\?xml[^>]*?\bencoding\s*=\s*["']([^"']*)["']""")
_TWO_BYTE_STARTS: Final = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"<\0": "utf-16le", b"\0<": "utf-16be"}
_KNOWN_TO_EXPAT: Final = frozenset({"utf-8", "iso8859-1", "ascii"})


def read_xml_chunks(source: BinaryIO) -> tuple[str, Iterator[bytes]]:
    """Return the encoding to pass to expat, and the file in chunks of this encoding."""
    head = source.read(_HEAD_BYTES)
    encoding = _TWO_BYTE_STARTS.get(head[:2]) or _declared_encoding(head)
    if encoding in _KNOWN_TO_EXPAT or head[:2] in _TWO_BYTE_STARTS:
        return encoding, _chunks(head, source)
    return "utf-8", _to_utf_8(_chunks(head, source), encoding)


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
