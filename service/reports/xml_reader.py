"""Base of the readers of XML reports: handlers by tag, and limits that protect the parser from hostile files."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, Final
from xml.parsers import expat

from service.contracts.run_events import MAX_LINE, ResultIn
from service.reports.errors import malformed, unsupported_root
from service.reports.metadata import ReportMetadata
from service.reports.xml_chunks import read_repaired_chunks, read_xml_chunks

_MAX_DEPTH: Final = 200
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
TextHandler = Callable[[str], object]
Opener = Callable[[str, XmlAttributes], Any]
Closer = Callable[[Any], None]


class InvalidXml(Exception):
    """The file isn't well-formed. It can be well-formed after invalid characters are replaced (`metadata.repairs`)."""


def read_xml(
    source: BinaryIO, new_reader: "Callable[[str], XmlReader]", metadata: ReportMetadata
) -> Iterator[list[ResultIn]]:
    """Yield the results in lists of bounded size, in the order in which their elements end.

    `new_reader` creates a reader for an encoding. Raises InvalidXml if the file isn't well-formed, or ReportError if it
    isn't after a repair either. The generator can raise the error after it has yielded results.
    """
    try:
        encoding, chunks = read_repaired_chunks(source, metadata) if metadata.repairs else read_xml_chunks(source)
        reader = new_reader(encoding)
        for chunk in chunks:
            yield reader.feed(chunk)
        yield reader.finish()
    except (expat.ExpatError, UnicodeError) as error:
        if isinstance(error, expat.ExpatError) and error.code == _NO_MEMORY:
            raise MemoryError from None
        if not metadata.repairs:
            raise InvalidXml(str(error)) from None
        raise malformed(f"not well-formed XML: {error}. {_REMEDY}") from None


class XmlReader:
    """The handlers of one expat parser. The value that an opener returns is passed to the closer of the same tag.

    expat calls handlers for each element, never fetches anything, and skips text without a handler without storing it.
    `_open` contains the value of each open element, or None if the element has no opener.
    """

    def __init__(self, encoding: str, roots: frozenset[str], format_title: str) -> None:
        self._roots = roots
        self._format_title = format_title
        self._results: list[ResultIn] = []
        self._open: list[Any] = []
        self._openers: dict[str, Opener] = {}
        self._closers: dict[str, Closer] = {}
        self._text_handlers: list[TextHandler] = []
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
        """Add the tag of an element at this depth. Earlier tags that aren't those of its ancestors are removed."""
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

    def _push_text_handler(self, handler: TextHandler) -> None:
        """Pass text to this handler until `_pop_text_handler`. Nested elements can push their own handlers."""
        self._text_handlers.append(handler)
        self._parser.CharacterDataHandler = handler

    def _pop_text_handler(self, _opened: Any = None) -> None:
        self._text_handlers.pop()
        self._parser.CharacterDataHandler = self._text_handlers[-1] if self._text_handlers else None


def _without_prefix(tag: str) -> str:
    """Return the tag without any prefix, because tools choose prefixes freely: `<a:assemblies><b:assembly>`."""
    return tag.rpartition(":")[2]


def line_of(text: str | None, offset: int = 0) -> int | None:
    """Return the line, from 1, or None if the text isn't one. `offset` is 1 if the tool counts from 0."""
    line = int(text) + offset if text and text.isdecimal() and len(text) <= len(str(MAX_LINE)) else 0
    return line if 0 < line <= MAX_LINE else None


def _reject_declarations(_name: str, _system_id: str | None, _public_id: str | None, has_declarations: bool) -> None:
    """Raise ReportError for a document that declares entities, attributes, elements, or notations.

    expat would expand them: an entity that consists of others becomes gigabytes, and the default of an attribute, such
    as `<!ATTLIST testcase name CDATA "AAA…">`, is added to each element. To ignore them isn't safe, because a default
    can be `result="failed"`. No test tool writes declarations. Those in other files are never read.
    """
    if has_declarations:
        raise malformed("the DOCTYPE must not contain declarations, such as of entities or attributes. Remove them")
