"""An XML file in pieces that expat can read, whatever its encoding."""

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO, Final

from service.reports.errors import malformed

_PIECE_BYTES: Final = 64 * 1024
_HEAD_BYTES: Final = 1024
_DECLARED: Final = re.compile(rb"""^(?:\xef\xbb\xbf)?<\?xml[^>]*?\bencoding\s*=\s*["']([^"']*)["']""")
_TWO_BYTE_STARTS: Final = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"<\0": "utf-16le", b"\0<": "utf-16be"}
_KNOWN_TO_EXPAT: Final = frozenset({"utf-8", "iso8859-1", "ascii"})


def read_xml_chunks(source: BinaryIO) -> tuple[str, Iterator[bytes]]:
    """The encoding to tell expat, and the bytes to feed it."""
    head = source.read(_HEAD_BYTES)
    encoding = _TWO_BYTE_STARTS.get(head[:2]) or _declared_encoding(head)
    if encoding in _KNOWN_TO_EXPAT or head[:2] in _TWO_BYTE_STARTS:
        return encoding, _pieces(head, source)
    return "utf-8", _recoded(_pieces(head, source), encoding)


def _declared_encoding(head: bytes) -> str:
    declaration = _DECLARED.match(head)
    name = declaration[1].decode("ascii", "replace") if declaration else "utf-8"
    if name.lower().startswith("utf-16"):  # said in one byte a character, so it can't be true
        return "utf-8"
    try:
        b"<".decode(name)  # refuses what Python has under the same roof: zlib, base64
        return codecs.lookup(name).name
    except (LookupError, ValueError):
        raise malformed(f"unknown encoding: {name[:50]}") from None


def _pieces(head: bytes, source: BinaryIO) -> Iterator[bytes]:
    yield head
    while piece := source.read(_PIECE_BYTES):
        yield piece


def _recoded(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    for piece in pieces:
        yield decoder.decode(piece).encode()
    yield decoder.decode(b"", final=True).encode()
