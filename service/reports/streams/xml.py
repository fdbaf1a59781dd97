"""Base of the readers of XML reports: handlers by tag, and limits that protect the parser from hostile files."""

import codecs
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, Final
from xml.parsers import expat

from service.ingest.contract import MAX_LINE, ResultIn
from service.reports.conversion.errors import malformed, unsupported_root
from service.reports.conversion.metadata import ReportMetadata
from service.reports.conversion.output import BoundedText
from service.reports.conversion.times import milliseconds

_REPLACEMENT: Final = "\ufffd"
_PERMITTED: Final = (range(0x20, 0xD800), range(0xE000, 0xFFFE), range(0x10000, 0x110000), (9, 10, 13))
_INVALID: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_CDATA_START: Final = "<![CDATA["
_CDATA_END: Final = "]]>"
_CDATA_OR_REFERENCE: Final = re.compile(r"<!\[CDATA\[|\]\]>|&#(?:[0-9]+|x[0-9a-fA-F]+);")
_MAX_DIGITS: Final = len("1114111")  # U+10FFFF
# The start of a reference or of a CDATA delimiter, which can continue in the next chunk.
_UNFINISHED: Final = re.compile(r"(?:&(?:#[xX0-9a-fA-F]{0,20})?|<(?:!(?:\[[CDAT]{0,5})?)?|\]{1,2})\Z")
_MAX_UNFINISHED: Final = 32  # characters
_CHUNK_BYTES: Final = 64 * 1024
_HEAD_BYTES: Final = 4_096
# Space that scripts and templates write before the declaration, where XML permits none.
_LEADING_SPACE: Final = re.compile(rb"\A(?:\xef\xbb\xbf)?[ \t\r\n]+(?=<\?xml)")
_DECLARED: Final = re.compile(rb"""^(?:\xef\xbb\xbf)?<\?xml[^>]*?\bencoding\s*=\s*["']([^"']*)["']""")
_TWO_BYTE_STARTS: Final = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"<\0": "utf-16le", b"\0<": "utf-16be"}
_KNOWN_TO_EXPAT: Final = frozenset({"utf-8", "iso8859-1", "ascii"})
_MAX_DEPTH: Final = 200
_MAX_COUNT_DIGITS: Final = 9
_MAX_TOKEN_BYTES: Final = 16 * 2**20  # of one tag or comment; expat buffers each of them completely
_LARGE_TAG_BYTES: Final = 2**20
_MAX_LARGE_TAGS_BYTES: Final = 64 * 2**20  # of the large tags of all open elements, because readers keep attributes
# expat and Python keep each different name until the end of the document, in about 200 bytes: a file of 27 MiB with
# <a1/><a2/>… would need 680 MiB. The largest report of a test tool has about 100 names.
_MAX_NAMES: Final = 10_000
_NO_MEMORY: Final = expat.errors.codes[expat.errors.XML_ERROR_NO_MEMORY]
_REMEDY: Final = (
    "The file must be complete and contain only the report: wait until the test tool has written it, disable colors,"
    " and write logs to another file"
)
XmlAttributes = Mapping[str, str]
_TextHandler = Callable[[str], object]
_Opener = Callable[[str, XmlAttributes], Any]
_Closer = Callable[[Any], None]


def read_xml(
    source: BinaryIO, new_reader: "Callable[[ReportMetadata, str], XmlReader]", metadata: ReportMetadata
) -> Iterator[list[ResultIn]]:
    """Yield the results in lists of bounded size, in the order in which their elements end.

    `new_reader` creates a reader for an encoding. Raises InvalidXml if the file isn't well-formed, or ReportError if it
    isn't after a repair either. The generator can raise the error after it has yielded results.
    """
    try:
        encoding, chunks = _read_repaired_chunks(source, metadata) if metadata.repairs else _read_xml_chunks(source)
        reader = new_reader(metadata, encoding)
        for chunk in chunks:
            yield reader.feed(chunk)
        yield reader.finish()
    except (expat.ExpatError, UnicodeError) as error:
        if isinstance(error, expat.ExpatError) and error.code == _NO_MEMORY:
            raise MemoryError from None
        if not metadata.repairs:
            raise InvalidXml(str(error)) from None
        raise malformed(f"not well-formed XML: {error}. {_REMEDY}") from None


def _read_repaired_chunks(source: BinaryIO, metadata: ReportMetadata) -> tuple[str, Iterator[bytes]]:
    """Return the same in UTF-8, without characters that XML doesn't permit. Counts the replaced ones."""
    head = _read_head(source)
    repair = XmlRepair(_TWO_BYTE_STARTS.get(head[:2]) or _declared_encoding(head))
    return "utf-8", _repaired(_chunks(head, source), repair, metadata)


def _read_head(source: BinaryIO) -> bytes:
    return _LEADING_SPACE.sub(b"", source.read(_HEAD_BYTES))


class XmlRepair:
    """Converts the chunks of an XML file to UTF-8, and replaces invalid characters and references by U+FFFD.

    References in a CDATA section are text. Declared entities aren't changed. `replaced` is the number of replacements.
    """

    def __init__(self, encoding: str) -> None:
        self.replaced = 0
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._unfinished = ""
        self._in_cdata = False

    def repair(self, chunk: bytes, *, final: bool = False) -> bytes:
        """Return the next chunk. Parts that the next chunk can continue are returned with the next chunk."""
        text = self._unfinished + self._decode(chunk, final)
        self._unfinished = ""
        if not final and (found := _UNFINISHED.search(text[-_MAX_UNFINISHED:])):
            self._unfinished = found[0]
            text = text[: -len(self._unfinished)]
        text, count = _INVALID.subn(_REPLACEMENT, text)
        self.replaced += count
        return _CDATA_OR_REFERENCE.sub(self._repair_match, text).encode()

    def _decode(self, chunk: bytes, final: bool) -> str:
        state = self._decoder.getstate()
        try:
            return self._decoder.decode(chunk, final)
        except UnicodeDecodeError:
            self._decoder.setstate(state)
        self._decoder.errors = "replace"
        text = self._decoder.decode(chunk, final)
        self._decoder.errors = "strict"
        self.replaced += text.count(_REPLACEMENT)
        return text

    def _repair_match(self, found: re.Match[str]) -> str:
        """Return a delimiter or a valid reference unchanged, and U+FFFD for an invalid reference outside of CDATA.

        The start of a section in a comment counts as a section, so that expat rejects an invalid reference after it.
        """
        matched = found[0]
        if matched in (_CDATA_START, _CDATA_END):
            self._in_cdata = matched == _CDATA_START
        elif not self._in_cdata and not _is_valid(matched[2:-1]):
            self.replaced += 1
            return _REPLACEMENT
        return matched


def _is_valid(reference: str) -> bool:
    """Return whether XML permits the character of a reference, such as `x1F` or `9`."""
    digits = reference.lstrip("x0")
    if len(digits) > _MAX_DIGITS:
        return False
    number = int(digits or "0", 16 if reference.startswith("x") else 10)
    return any(number in numbers for numbers in _PERMITTED)


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


def _repaired(chunks: Iterator[bytes], repair: XmlRepair, metadata: ReportMetadata) -> Iterator[bytes]:
    for chunk in chunks:
        yield repair.repair(chunk)
    yield repair.repair(b"", final=True)
    metadata.replaced_characters = repair.replaced


def _chunks(head: bytes, source: BinaryIO) -> Iterator[bytes]:
    yield head
    while chunk := source.read(_CHUNK_BYTES):
        yield chunk


def _read_xml_chunks(source: BinaryIO) -> tuple[str, Iterator[bytes]]:
    """Return the encoding to pass to expat, and the file in chunks of this encoding."""
    head = _read_head(source)
    encoding = _TWO_BYTE_STARTS.get(head[:2]) or _declared_encoding(head)
    if encoding in _KNOWN_TO_EXPAT or head[:2] in _TWO_BYTE_STARTS:
        return encoding, _chunks(head, source)
    return "utf-8", _to_utf_8(_chunks(head, source), encoding)


def _to_utf_8(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    for chunk in chunks:
        yield decoder.decode(chunk).encode()
    yield decoder.decode(b"", final=True).encode()


class InvalidXml(Exception):
    """The file isn't well-formed. It can be well-formed after invalid characters are replaced (`metadata.repairs`)."""


class XmlReader:
    """The handlers of one expat parser. The value that an opener returns is passed to the closer of the same tag.

    expat calls handlers for each element, never fetches anything, and skips text without a handler without storing it.
    `_open` contains the value of each open element, or None if the element has no opener.
    """

    def __init__(self, metadata: ReportMetadata, encoding: str, roots: frozenset[str], format_title: str) -> None:
        self._metadata = metadata
        self._roots = roots
        self._format_title = format_title
        self._results: list[ResultIn] = []
        self._open: list[Any] = []
        self._openers: dict[str, _Opener] = {}
        self._closers: dict[str, _Closer] = {}
        self._text_handlers: list[_TextHandler] = []
        self._fed_bytes = self._parsed_bytes = 0
        self._large_tags: list[tuple[int, int]] = []  # depth and bytes
        self._names: dict[str, str] = {}  # the different tags and attributes so far
        self._parser = self._new_parser(encoding)

    def _new_parser(self, encoding: str) -> expat.XMLParserType:
        parser = expat.ParserCreate(encoding, intern=self._names)
        parser.buffer_text = True
        parser.buffer_size = 64 * 1024
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.StartDoctypeDeclHandler = _reject_declarations
        return parser

    def feed(self, chunk: bytes) -> list[ResultIn]:
        """Parse the next chunk of the file, and return the results that end in it."""
        unfinished, depth = self._fed_bytes - self._parsed_bytes, len(self._open)
        self._parser.Parse(chunk, False)
        self._fed_bytes += len(chunk)
        if unfinished > _LARGE_TAG_BYTES and self._parser.CurrentByteIndex >= 0:
            self._add_large_tag(depth, unfinished)
        # The index is -1 if expat waits for the rest of a tag.
        self._parsed_bytes = max(self._parsed_bytes, self._parser.CurrentByteIndex)
        if self._fed_bytes - self._parsed_bytes > _MAX_TOKEN_BYTES:
            raise malformed(f"the report contains a tag or comment that is larger than {_MAX_TOKEN_BYTES} bytes")
        self._check_names()
        results, self._results = self._results, []
        return results

    def _check_names(self) -> None:
        if len(self._names) > _MAX_NAMES:
            raise malformed(f"the report contains more than {_MAX_NAMES} different names of tags and attributes")

    def _add_large_tag(self, depth: int, size: int) -> None:
        """Add the tag of an element at this depth. Earlier tags are removed, unless an ancestor has them."""
        self._large_tags = [*(tag for tag in self._large_tags if tag[0] < depth), (depth, size)]
        if sum(size for _, size in self._large_tags) > _MAX_LARGE_TAGS_BYTES:
            raise malformed(f"nested elements have tags of more than {_MAX_LARGE_TAGS_BYTES} bytes together")

    def finish(self) -> list[ResultIn]:
        """End the document, and return the remaining results."""
        self._parser.Parse(b"", True)
        self._check_names()
        return self._results

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if ":" in tag:
            tag = _without_prefix(tag)
        if not 0 < len(self._open) < _MAX_DEPTH:
            self._check_depth(tag)
        opener = self._openers.get(tag)
        self._open.append(opener(tag, attributes) if opener else self._open_other(tag, attributes))

    def _end(self, tag: str) -> None:
        opened = self._open.pop()
        if opened is not None:
            if ":" in tag:
                tag = _without_prefix(tag)
            closer = self._closers.get(tag)
            if closer:
                closer(opened)
            else:
                self._close_other(tag, opened)

    def _open_other(self, _tag: str, _attributes: XmlAttributes) -> Any:
        """Return the state of an element whose tag has no opener."""
        return None

    def _close_other(self, tag: str, opened: Any) -> None:
        """End an element whose tag has no closer."""

    def _check_depth(self, tag: str) -> None:
        """Raise ReportError if the element is too deep, or if it is the root element of another format."""
        if self._open:
            raise malformed(f"elements are nested more than {_MAX_DEPTH} levels deep")
        if tag not in self._roots:
            raise unsupported_root(tag, self._format_title)

    def _push_text_handler(self, handler: _TextHandler) -> None:
        """Pass text to this handler until `_pop_text_handler`. Nested elements can push their own handlers."""
        self._text_handlers.append(handler)
        self._parser.CharacterDataHandler = handler

    def _pop_text_handler(self, _opened: Any = None) -> None:
        self._text_handlers.pop()
        self._parser.CharacterDataHandler = self._text_handlers[-1] if self._text_handlers else None

    def _ignore(self, _opened: Any) -> None:
        """Do nothing at the end of an element."""

    def _collect(self, text: BoundedText) -> BoundedText:
        """Add text to this one until `_pop_text_handler`."""
        self._push_text_handler(text.add)
        return text

    def _seconds(self, written: str | None) -> float | None:
        """Return a duration in milliseconds, and count one that is invalid."""
        return self._metadata.unreadable.check(written, milliseconds(written)) if written else None

    def _declare(self, attributes: XmlAttributes, names: Iterable[tuple[str, str]]) -> None:
        """Add the counts that these attributes state, each with the name of the count."""
        for name, count_name in names:
            if attributes.get(name, "").isdecimal():
                self._metadata.declare(count_name, int(attributes[name][:_MAX_COUNT_DIGITS]))


def _reject_declarations(_name: str, _system_id: str | None, _public_id: str | None, has_declarations: bool) -> None:
    """Raise ReportError for a document that declares entities, attributes, elements, or notations.

    expat would expand them: an entity that consists of others becomes gigabytes, and the default of an attribute, such
    as `<!ATTLIST testcase name CDATA "AAA…">`, is added to each element. To ignore them isn't safe, because a default
    can be `result="failed"`. No test tool writes declarations. Those in other files are never read.
    """
    if has_declarations:
        raise malformed("the DOCTYPE must not contain declarations, such as of entities or attributes. Remove them")


def _without_prefix(tag: str) -> str:
    """Return the tag without any prefix, because tools choose prefixes freely: `<a:assemblies><b:assembly>`."""
    return tag.rpartition(":")[2]


def line_of(text: str | None, offset: int = 0) -> int | None:
    """Return the line, from 1, or None if the text isn't one. `offset` is 1 if the tool counts from 0."""
    line = int(text) + offset if text and text.isdecimal() and len(text) <= len(str(MAX_LINE)) else 0
    return line if 0 < line <= MAX_LINE else None
