"""Streaming reader of xUnit.net XML of the versions 1 to 3: `<assemblies>`, or one `<assembly>`."""

import re
from base64 import b64decode
from collections.abc import Iterator
from typing import BinaryIO, Final

from service.domain.statuses import ResultStatus
from service.ingest.contract import ResultIn
from service.reports.conversion.attachments import MAX_ATTACHMENTS
from service.reports.conversion.attempts import status_of_word
from service.reports.conversion.metadata import ReportMetadata
from service.reports.conversion.names import MAX_LABEL, SUITE_LEVEL_NAME, portable_name, portable_path, without_folder
from service.reports.conversion.output import MAX_EMBEDDED_BYTES, BoundedText, output_text
from service.reports.conversion.times import timestamp, utc_timestamp
from service.reports.formats.xml_cases import XmlCase, XmlCaseReader
from service.reports.streams.xml import XmlAttributes, line_of, read_xml

# In version 3, the name of a collection ends with its ID, which depends on the machine.
_COLLECTION: Final = re.compile(r"(?:Test collection for )?(.*?)(?: \(id: [0-9a-f]+\))?", re.DOTALL)
_ESCAPE: Final = re.compile(r'\\([nrt"\\])')
_ESCAPED: Final = {"n": "\n", "r": "\r", "t": "\t"}
_ROOTS: Final = frozenset({"assemblies", "assembly"})
_DECLARED: Final = (("total", "tests"), ("failed", "failures"), ("errors", "errors"), ("skipped", "skipped"))
_STATUS_OF: Final[dict[str, ResultStatus]] = {"Pass": "passed", "Fail": "failed", "Skip": "skipped", "": "error"}
_ERROR_KIND: Final = "error-type"  # property of a result for an error outside of the tests
# xUnit.net writes names and messages with escape sequences, before version 2.2 only messages.
_ESCAPES_NAMES: Final = (2, 2)
_MAX_ENCODED: Final = MAX_EMBEDDED_BYTES * 4 // 3 + 4  # characters
_FRAMEWORK: Final = re.compile(r"xUnit\.net (?:v\d+ )?(\d+)\.(\d+)")


def read(source: BinaryIO, metadata: ReportMetadata) -> Iterator[list[ResultIn]]:
    """Yield the results in lists of bounded size. Raises ReportError if the file isn't well-formed xUnit.net XML."""
    return read_xml(source, _XunitReader, metadata)


class _EmbeddedFile:
    """An open attachment: Base64 with a media type, or a text."""

    def __init__(self, attributes: XmlAttributes) -> None:
        self.name = attributes.get("name", "")
        self.type = attributes.get("media-type")
        self._chunks: list[str] = []
        self._size = 0

    def add(self, chunk: str) -> None:
        """Add a chunk of the content. The chunks of a file that is too large are omitted."""
        self._size += len(chunk)
        if self._size <= _MAX_ENCODED:
            self._chunks.append(chunk)

    def decode(self) -> bytes | None:
        """Return the content, or None if it is too large or no valid Base64."""
        text = "".join(self._chunks)
        try:
            data = b64decode(text) if self.type else text.encode(errors="replace")
        except ValueError:
            return None
        return data if self._size <= _MAX_ENCODED else None


class _XunitReader(XmlCaseReader):
    """The handlers of the elements of xUnit.net XML."""

    def __init__(self, metadata: ReportMetadata, encoding: str) -> None:
        super().__init__(metadata, encoding, _ROOTS, "xUnit.net XML")
        self._assembly = self._collection = ""
        self._class = self._suite = self._prefix = ""  # of the previous test: most tests have the same class
        self._escapes_messages = self._escapes_names = False
        self._openers |= {
            "assemblies": self._open_root,
            "assembly": self._open_assembly,
            "collection": self._open_collection,
            "class": self._open_class,
            "test": XmlCase,
            "error": XmlCase,
            **dict.fromkeys(("traits", "attachments"), self._open_container),
            "trait": self._open_trait,
            "attachment": self._open_attachment,
            "warning": self._open_warning,
        }
        self._closers |= {
            "test": self._close_test,
            "error": self._close_error,
            "class": self._close_class,
            "warning": self._pop_text_handler,
            "attachment": self._close_attachment,
        }

    def _open_root(self, _tag: str, attributes: XmlAttributes) -> None:
        self._metadata.times.add(utc_timestamp(attributes.get("start-rtf")))
        self._metadata.times.set_end(utc_timestamp(attributes.get("finish-rtf")))

    def _open_assembly(self, _tag: str, attributes: XmlAttributes) -> None:
        self._assembly = portable_path(attributes.get("name", ""))
        framework = _FRAMEWORK.match(attributes.get("test-framework", ""))
        self._escapes_messages = framework is not None
        self._escapes_names = framework is not None and (int(framework[1]), int(framework[2])) >= _ESCAPES_NAMES
        self._declare(attributes, _DECLARED)
        start = utc_timestamp(attributes.get("start-rtf"))
        local = timestamp(f"{attributes.get('run-date')}T{attributes.get('run-time')}")
        self._metadata.times.add(start or local, self._seconds(attributes.get("time")))

    def _open_collection(self, _tag: str, attributes: XmlAttributes) -> None:
        self._collection = _name_of_collection(self._name(attributes.get("name", "")))

    def _open_class(self, tag: str, attributes: XmlAttributes) -> XmlCase:
        """Open a class of version 1, which fails if a fixture failed."""
        self._open_collection(tag, attributes)
        return XmlCase(tag, attributes)

    def _open_trait(self, _tag: str, attributes: XmlAttributes) -> None:
        if isinstance(self._open[-1], XmlCase):
            name, value = attributes.get("name", ""), attributes.get("value", "")
            self._add_property(self._open[-1], self._name(name), self._name(value))

    def _open_attachment(self, _tag: str, attributes: XmlAttributes) -> _EmbeddedFile | None:
        if not isinstance(self._open[-1], XmlCase):
            return None
        file = _EmbeddedFile(attributes)
        self._push_text_handler(file.add)
        return file

    def _close_attachment(self, file: _EmbeddedFile) -> None:
        self._pop_text_handler()
        case, output, data = self._open[-1], self._metadata.output, file.decode()
        if data is None or len(case.embedded or ()) >= MAX_ATTACHMENTS:
            output.embedded.dropped += 1
        else:
            case.embedded = [*(case.embedded or ()), *output.embed(file.name, file.type or "text/plain", data)]

    def _open_warning(self, _tag: str, _attributes: XmlAttributes) -> BoundedText | None:
        cases = [opened for opened in self._open if isinstance(opened, XmlCase)]
        return self._collect(output_text(cases[-1], "warnings.txt")) if cases else None

    def _close_test(self, case: XmlCase) -> None:
        attributes = case.attributes
        class_name = attributes.get("type") or self._collection or self._assembly
        if class_name != self._class:
            self._class, self._suite = class_name, without_folder(class_name)[:MAX_LABEL]
            self._prefix = f"{self._suite}."
        written = attributes.get("name") or attributes.get("method") or ""
        name = without_folder(_unescaped(written) if self._escapes_names else written).removeprefix(self._prefix)
        word = attributes.get("result", "")
        status = _STATUS_OF.get(word) or status_of_word(word)
        if case.failures and status == "passed" and case.has_failed:
            status = "failed"
        result: ResultIn = {"suite": self._suite, "name": name or self._suite, "status": status}
        duration_ms = self._seconds(attributes.get("time"))
        if duration_ms is not None:
            result["duration_ms"] = duration_ms
        if "start-rtf" in attributes or "source-file" in attributes:  # version 3
            self._add_start_and_location(result, attributes)
        self._count(status)
        self._results.append(self._finished(result, case) if case.failures else self._complete(result, case))

    def _add_start_and_location(self, result: ResultIn, attributes: XmlAttributes) -> None:
        if started_at := utc_timestamp(attributes.get("start-rtf")):
            result["started_at"] = started_at
        if file := attributes.get("source-file"):
            result["file"] = self._metadata.checkout.file_of(file)
        if line := line_of(attributes.get("source-line")):
            result["line"] = line

    def _close_error(self, error: XmlCase) -> None:
        """Add an error outside of the tests, such as one in the cleanup of a class, so that it isn't lost."""
        suite = _name_of_collection(portable_name(error.attributes.get("name", "")))
        self._add_property(error, _ERROR_KIND, error.attributes.get("type", ""))
        self._metadata.counted["errors"] += 1
        self._add_suite_level(suite or self._assembly, error)

    def _close_class(self, opened: XmlCase) -> None:
        if opened.has_failed:
            self._add_suite_level(self._collection, opened)

    def _add_suite_level(self, suite: str, opened: XmlCase) -> None:
        result: ResultIn = {"suite": suite[:MAX_LABEL], "name": SUITE_LEVEL_NAME, "status": "error"}
        self._results.append(self._finished(result, opened))

    def _finished(self, result: ResultIn, opened: XmlCase) -> ResultIn:
        """Return the result with the texts of a closed element, without escape sequences in the message."""
        result = self._complete(result, opened)
        failure = result.get("failure")
        if failure and self._escapes_messages and (message := failure.get("message")):
            result["failure"] = {**failure, "message": _unescaped(message)}
        return result

    def _name(self, text: str) -> str:
        """Return a name, or the value of a trait, without escape sequences."""
        return _unescaped(text) if self._escapes_names else text


def _name_of_collection(name: str) -> str:
    """Return the name of a collection, or the class that it was created for."""
    match = _COLLECTION.fullmatch(name)
    return portable_name(match[1]) if match else name


def _unescaped(text: str) -> str:
    """Return a text without escape sequences. Most texts need no search for an escaped backslash."""
    if "\\" not in text:
        return text
    if "\\\\" in text:
        return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), text)
    return text.replace('\\"', '"').replace("\\n", "\n").replace("\\r", "\r").replace("\\t", "\t")
