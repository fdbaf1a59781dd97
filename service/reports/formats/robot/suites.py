"""The open suites and tests of Robot Framework, and the conversion of a test to a result."""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from html import unescape
from typing import BinaryIO, Final, NamedTuple

from service.domain.statuses import ResultStatus, read_status, states_failure
from service.ingest.contract import AttemptIn, ResultIn
from service.reports.conversion.attachments import Attachment
from service.reports.conversion.attempts import MAX_ATTEMPTS, attempts_of, make_failure, status_of_word
from service.reports.conversion.errors import malformed
from service.reports.conversion.metadata import ReportMetadata, UnreadableDurations
from service.reports.conversion.names import MAX_LABEL, NO_CHECKOUT, Checkout, portable_name, suite_label
from service.reports.conversion.output import BoundedText
from service.reports.conversion.times import milliseconds, timestamp
from service.reports.formats.xml_cases import OpenCase
from service.reports.streams.kept_values import TextsByTest
from service.reports.streams.xml import XmlAttributes, XmlReader, line_of, read_xml

FAILED: Final = "FAIL"
MAX_ARGUMENTS: Final = 10
_MAX_ARGUMENT: Final = 200  # characters
_MAX_PATH: Final = 1_000
_MAX_LOG: Final = 32 * 1024  # of one keyword; the end of its messages, because it contains the failure
_MAX_FAILURES: Final = 20  # of one test
# The elements of control structures. The branches of IF and TRY state their kind.
TITLES: Final = {
    **dict.fromkeys(("kw", "iter", "branch", "if", "try"), ""),
    **{tag: tag.upper() for tag in ("for", "while", "group", "return", "break", "continue", "error")},
    "variable": "VAR",
}
_HTML: Final = "*HTML*"
_ELEMENT: Final = re.compile(r"<[^<>]*>")
_END_OF_LINE: Final = re.compile(r"<(?:br|hr|/p|/div|/tr|/li|/h[1-6])\b[^<>]*>", re.IGNORECASE)
_LINK: Final = re.compile(r"<(?:img|a|source|video)\s(?:[^<>]*?\s)?(?:src|href)=\"([^\"<>]{1,4096})\"", re.IGNORECASE)
_FILE: Final = re.compile(r"(?!(?!file:)[a-z][a-z0-9+.-]+:|//)[^#?]+\.[A-Za-z]\w{0,9}", re.ASCII | re.IGNORECASE)
# What `rebot --merge` writes: the newest execution is the first one.
_MERGED: Final = re.compile(
    r'\*HTML\* <span class="merge">T(?:est|ask) has been re-executed and results merged\.</span>'
)
_EXECUTION: Final = re.compile(
    r'<hr><span class="(?:new|old)-status">(?:New|Old) status:</span> <span class="[a-z ]+">([A-Z ]+)</span><br>'
    r'(?:<span class="(?:new|old)-message">(?:New|Old) message:</span> )?'
)
ROOTS: Final = frozenset({"robot"})
TITLE: Final = "Robot output.xml"
_ROBOT: Final = "Robot"  # the generator; the other one is `Rebot`
# In the message of each suite whose teardown failed. The second one follows a failed setup.
_STATED: Final = (b"Suite teardown failed:", b"suite teardown failed:")
_MAX_TEARDOWN: Final = 1_000  # characters; Robot shortens messages to 40 lines
_CHUNK: Final = 2**20
_PARTS: Final = ("setup", "teardown")  # of a suite
# In the message of each test that fails because of its suite.
FAILURE_OF_SUITE: Final = re.compile(r"^Parent suite (?:setup|teardown) failed:|\n\nAlso parent suite teardown failed:")
_TEARDOWN_FAILED: Final = "Parent suite teardown failed:\n"
_ALSO_FAILED: Final = "\n\nAlso parent suite teardown failed:\n"


class _FailedKeyword(NamedTuple):
    """A keyword that failed, with the path of the keywords around it, and the end of its messages."""

    path: str
    log: str


class RobotBody:
    """An open element that contains keywords: a suite, a test, or a keyword."""

    failures: Sequence[_FailedKeyword] = ()

    def add_failures(self, failures: Iterable[_FailedKeyword]) -> None:
        """Add failed keywords. The log of further ones is omitted if the logs are large."""
        found = list(self.failures)
        size = sum(len(failure.log) for failure in found)
        for failure in failures:
            if len(found) < _MAX_FAILURES:
                found.append(failure if size < 2 * _MAX_LOG else failure._replace(log=""))
                size += len(failure.log)
        self.failures = found

    @property
    def paths(self) -> str:
        """The paths of the failed keywords in lines, such as `Keyword: Pay > Click Button(id=pay)`."""
        return "\n".join(f"Keyword: {failure.path}" for failure in self.failures)

    @property
    def log(self) -> BoundedText:
        """The messages of the failed keywords, each after the path of its keyword."""
        return BoundedText("\n".join(f"{path}\n{log}\n" for path, log in self.failures if log))


class RobotSuite(RobotBody):
    """An open suite. `teardown` is the message of its failed teardown, followed by those around it, or None."""

    def __init__(
        self, attributes: XmlAttributes, parent: "RobotSuite | None" = None, teardown: str | None = None,
        checkout: Checkout = NO_CHECKOUT,
    ) -> None:  # fmt: skip
        name = portable_name(attributes.get("name", ""))[:MAX_LABEL]
        source = attributes.get("source")
        self.path: tuple[str, ...] = (*(parent.path if parent else ()), *filter(None, (name,)))
        self.label = suite_label(self.path)
        self.checkout: Checkout = parent.checkout if parent else checkout
        self.file: str | None = parent.file if parent else None
        if source:
            self.file = self.checkout.file_of(source)[:MAX_LABEL]
        failed = [text for text in (teardown, parent.teardown if parent else None) if text is not None]
        # Each test repeats the text.
        self.teardown: str | None = _ALSO_FAILED.join(failed)[:_MAX_TEARDOWN] if failed else None
        self.state: XmlAttributes = {}  # the attributes of the status
        self.message = BoundedText()
        self.stated: set[str] = set()  # the failed parts that tests of the suite state
        self.failing = 0  # number of failing results before the suite

    def add_statement(self, message: str) -> None:
        """Add the failed parts that the message of a test states."""
        text = message.lower()
        self.stated.update(part for part in _PARTS if f"parent suite {part} failed:" in text)

    @property
    def has_failed(self) -> bool:
        """Whether the suite states a status, and it is a failure."""
        return bool(self.state) and states_failure(self.state.get("status"))

    @property
    def has_unstated_failure(self) -> bool:
        """Whether the setup or the teardown failed, and no test states it.

        `rebot --merge` keeps the message of a suite although its setup passed when its tests were executed again.
        """
        text = self.message.details().lower()
        unstated = (part for part in _PARTS if part not in self.stated)
        return bool(self.failures) and any(f"suite {part} failed:" in text for part in unstated)


class RobotTest(RobotBody, OpenCase):
    """An open test or task."""

    message: BoundedText | None = None

    def __init__(self, attributes: XmlAttributes) -> None:
        self.attributes = attributes
        self.state: XmlAttributes = {}  # the attributes of the status


class RobotLog:
    """Collects messages, each after a line feed. Only the end of long messages is stored."""

    messages = ""

    def add_message(self, text: str) -> None:
        """Add a chunk of the messages."""
        self.messages += text
        if len(self.messages) > _MAX_LOG:
            self.messages = self.messages[-_MAX_LOG:]

    @property
    def log_text(self) -> str:
        """The messages in lines."""
        return self.messages.lstrip("\n")


class RobotKeyword(RobotBody, RobotLog):
    """An open keyword or control structure. Most of them pass: defaults of the class make their creation fast."""

    status = ""

    def __init__(self, tag: str, attributes: XmlAttributes) -> None:
        self.tag = tag
        self.arguments: list[str] = []
        self.attributes = attributes

    def start_argument(self) -> None:
        """Start an argument, or the variable of an iteration."""
        self.arguments.append("")

    def add_argument(self, text: str) -> None:
        """Add a chunk of the text of the last argument."""
        self.arguments[-1] = (self.arguments[-1] + text)[:_MAX_ARGUMENT]

    def failed_keywords(self) -> list[_FailedKeyword]:
        """Return the failed keywords of a closed keyword that failed, and the keyword itself if it has messages."""
        label = self._label()[:_MAX_PATH]
        failures = [_FailedKeyword(_join(label, path), log) for path, log in self.failures]
        if self.messages or not failures:
            failures.append(_FailedKeyword(label or self.tag.upper(), self.log_text))
        return failures

    def _label(self) -> str:
        attributes = (self.attributes.get(name) for name in ("type", "name", "condition"))
        title = " ".join(filter(None, (TITLES[self.tag], *attributes)))
        arguments = ", ".join(self.arguments)
        return f"{title}({arguments})" if title and arguments else title or arguments


def _join(label: str, path: str) -> str:
    """Return the path below a keyword. The start of a long path is omitted."""
    return f"{label} > {path}" if label and len(label) + len(path) < _MAX_PATH else path


def result_of(test: RobotTest, suite: RobotSuite, unreadable: UnreadableDurations) -> ResultIn:
    """Return the result of a closed test, without its output and its files."""
    name = portable_name(test.attributes.get("name", "")) or ".".join(suite.path)
    status = status_of(test.state)
    message = test.message.details().strip() if test.message else ""
    executions = _merged_executions(message)
    if executions and read_status(executions[-1][0]) != status:
        executions = []
    message = executions[-1][1] if executions else text_of_message(message)
    if suite.teardown is not None:
        status = status if status == "skipped" else "failed"
        message = f"{message}{_ALSO_FAILED if message else _TEARDOWN_FAILED}{suite.teardown}"
    result: ResultIn = {"suite": suite.label, "name": name, "status": status}
    if suite.file:
        result["file"] = suite.file
    if line := line_of(test.attributes.get("line")):
        result["line"] = line
    if (duration_ms := duration_of(test.state, unreadable)) is not None:
        result["duration_ms"] = duration_ms
    if status != "passed" and (failure := make_failure(message=message, details=test.paths)):
        result["failure"] = failure
    if executions:
        earlier = [_attempt_of(*execution) for execution in executions[:-1]]
        result["attempts"] = [*earlier, *attempts_of(result)][-MAX_ATTEMPTS:]
    return result


def status_of(state: XmlAttributes) -> ResultStatus:
    """Return the status, or an unknown word itself, which ingest stores as an error."""
    return status_of_word(state.get("status"))


def _merged_executions(message: str) -> list[tuple[str, str]]:
    """Return status and message of each execution of a merged result, the oldest one first. Other messages have none.

    For example, a test that failed with `no stock`, and passed in the second execution, has `FAIL` with `no stock`, and
    `PASS` without a message.
    """
    start = _MERGED.match(message)
    before, *parts = _EXECUTION.split(message[start.end() :]) if start else ("",)
    if before:
        return []
    executions = zip(parts[::2], map(text_of_html, parts[1::2]), strict=True)
    return [*executions][::-1]


def text_of_html(html: str) -> str:
    """Return the text of HTML, with the lines that its elements end."""
    return unescape(_ELEMENT.sub("", _END_OF_LINE.sub("\n", html))).strip()


def text_of_message(message: str) -> str:
    """Return a message, or its text if it states that it is HTML."""
    return text_of_html(message.removeprefix(_HTML)) if message.startswith(_HTML) else message


def duration_of(state: XmlAttributes, unreadable: UnreadableDurations) -> float | None:
    """Return the duration in milliseconds. Robot Framework 7 states it, and older versions state start and end."""
    elapsed = state.get("elapsed")
    if elapsed is None:
        start, end = timestamp(state.get("starttime")), timestamp(state.get("endtime"))
        if start is None or end is None or (start.tzinfo is None) != (end.tzinfo is None):
            return None
        elapsed = str((end - start).total_seconds())
    return unreadable.check(elapsed, milliseconds(elapsed))


def _attempt_of(word: str, message: str) -> AttemptIn:
    """Return an earlier execution of a merged result, of which only status and message are known."""
    status = status_of({"status": word})
    attempt: AttemptIn = {"status": status}
    if message and status != "passed":
        attempt["failure"] = {"message": message}
    return attempt


def files_of(html: str) -> Iterator[Attachment]:
    """Yield the files that HTML shows or links to, without files on other machines and without embedded images."""
    for link in _LINK.findall(html):
        path = unescape(link)
        if _FILE.fullmatch(path):
            yield Attachment(path)


def read_teardowns(source: BinaryIO, metadata: ReportMetadata) -> TextsByTest:
    """Return the message of each failed suite teardown by the number of its suite, and leave the file at its start.

    All elements `suite` are numbered from 1 in their order. Most outputs have no such suite, and aren't parsed.
    """
    teardowns = TextsByTest()
    found = _states_teardown(source)
    source.seek(0)
    if found:
        for _ in read_xml(source, partial(_TeardownReader, teardowns), metadata):
            pass  # teardowns aren't results
        source.seek(0)
    return teardowns


def _states_teardown(source: BinaryIO) -> bool:
    end = b""
    while chunk := source.read(_CHUNK):
        text = end + chunk
        if any(stated in text for stated in _STATED):
            return True
        end = chunk[-len(_STATED[0]) :]
    return False


class _Teardown:
    """The open teardown of a suite."""

    __slots__ = ("message", "suite")

    def __init__(self, suite: int) -> None:
        self.suite = suite
        self.message = BoundedText()


class _TeardownReader(XmlReader):
    """Collects the messages of failed suite teardowns. The value of an open suite is its number, and 0 of the root."""

    def __init__(self, teardowns: TextsByTest, metadata: ReportMetadata, encoding: str) -> None:
        super().__init__(metadata, encoding, ROOTS, TITLE)
        self._teardowns = teardowns
        self._suites = 0
        self._openers = {
            "robot": _open_root,
            "suite": self._open_suite,
            "kw": self._open_keyword,
            "status": self._open_status,
        }
        self._closers = {"status": self._close_status}

    def _open_suite(self, _tag: str, _attributes: XmlAttributes) -> int | None:
        self._suites += 1
        return self._suites if isinstance(self._open[-1], int) else None

    def _open_keyword(self, _tag: str, attributes: XmlAttributes) -> _Teardown | None:
        parent = self._open[-1]
        is_teardown = attributes.get("type", "").upper() == "TEARDOWN"
        return _Teardown(parent) if isinstance(parent, int) and is_teardown else None

    def _open_status(self, _tag: str, attributes: XmlAttributes) -> _Teardown | None:
        teardown = self._open[-1]
        if not isinstance(teardown, _Teardown) or attributes.get("status") != FAILED:
            return None
        self._push_text_handler(teardown.message.add)
        return teardown

    def _close_status(self, teardown: _Teardown) -> None:
        self._pop_text_handler()
        if not self._teardowns.add(str(teardown.suite), teardown.message.details()[:_MAX_TEARDOWN]):
            raise malformed("the messages of all suite teardowns together are too large")


def _open_root(_tag: str, attributes: XmlAttributes) -> int | None:
    return 0 if attributes.get("generator", "").startswith(_ROBOT) else None


class RobotProperty:
    """An open tag, or another named value of a test."""

    __slots__ = ("name", "test", "value")

    def __init__(self, test: RobotTest, name: str) -> None:
        self.test = test
        self.name = name
        self.value = BoundedText()
