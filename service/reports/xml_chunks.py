"""Chunks of an XML file, converted to UTF-8."""

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO, Final

from service.reports.errors import malformed
from service.reports.xml_repair import XmlRepair

_CHUNK_BYTES: Final = 64 * 1024
_HEAD_BYTES: Final = 4_096
# Space that scripts and templates write before the declaration, where XML permits none.
_LEADING_SPACE: Final = re.compile(rb"\A(?:\xef\xbb\xbf)?[ \t\r\n]+(?=<\?xml)")
_DECLARED: Final = re.compile(rb"""^(?:\xef\xbb\xbf)?<\?xml[^>]*?\bencoding\s*=\s*["']([^"']*)["']""")
_TWO_BYTE_STARTS: Final = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"<\0": "utf-16le", b"\0<": "utf-16be"}


def read_xml_chunks(source: BinaryIO) -> tuple[XmlRepair, Iterator[bytes]]:
    """Return the file in chunks of UTF-8 without invalid characters, and the object that counts the replaced ones."""
    head = _LEADING_SPACE.sub(b"", source.read(_HEAD_BYTES))
    repair = XmlRepair(_TWO_BYTE_STARTS.get(head[:2]) or _declared_encoding(head))
    return repair, _chunks(head, source, repair)


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


def _chunks(head: bytes, source: BinaryIO, repair: XmlRepair) -> Iterator[bytes]:
    yield repair.repair(head)
    while chunk := source.read(_CHUNK_BYTES):
        yield repair.repair(chunk)
    yield repair.repair(b"", final=True)
