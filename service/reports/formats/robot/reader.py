"""Streaming reader of output.xml of Robot Framework, of version 3 and later."""

from collections.abc import Iterator
from functools import partial
from typing import Any, BinaryIO, Final

from service.domain.statuses import states_failure
from service.ingest.contract import ResultIn
from service.reports.conversion.attachments import Attachment, references
from service.reports.conversion.attempts import make_failure
from service.reports.conversion.metadata import ReportMetadata, mark_outside
from service.reports.conversion.names import SUITE_LEVEL_NAME
from service.reports.conversion.output import BoundedText, set_output
from service.reports.conversion.times import timestamp
from service.reports.formats.robot.suites import (
    FAILED,
    FAILURE_OF_SUITE,
    MAX_ARGUMENTS,
    ROOTS,
    TITLE,
    TITLES,
    RobotBody,
    RobotKeyword,
    RobotLog,
    RobotProperty,
    RobotSuite,
    RobotTest,
    duration_of,
    files_of,
    read_teardowns,
    result_of,
    status_of,
    text_of_html,
    text_of_message,
)
from service.reports.streams.kept_values import TextsByTest
from service.reports.streams.xml import XmlAttributes, XmlReader, read_xml

_IS_HTML: Final = ("true", "yes")  # versions before 4 write `yes`
_TOTAL: Final = "total"
_LOG: Final = "log.txt"
_COUNT_OF: Final = {"passed": "passed", "failed": "failures", "error": "errors", "skipped": "skipped"}
_DECLARED: Final = (
    ("pass", "tests"), ("fail", "tests"), ("fail", "failures"), ("skip", "tests"), ("skip", "skipped"),
)  # fmt: skip


def read(source: BinaryIO, metadata: ReportMetadata) -> Iterator[list[ResultIn]]:
    """Yield the results in lists of bounded size. Raises ReportError if the file isn't well-formed output.xml."""
    return read_xml(source, partial(_RobotReader, read_teardowns(source, metadata)), metadata)


class _HtmlMessage:
    """An open message in HTML, and the log of its keyword."""

    __slots__ = ("html", "log")

    def __init__(self, log: RobotLog) -> None:
        self.log = log
        self.html = BoundedText()


class _RobotReader(XmlReader):
    """Converts the tests, and the failures of suites. The value of an open element is None if it has no meaning."""

    def __init__(self, teardowns: TextsByTest, metadata: ReportMetadata, encoding: str) -> None:
        super().__init__(metadata, encoding, ROOTS, TITLE)
        self._teardowns = teardowns
        self._suites = [RobotSuite({}, checkout=metadata.checkout)]
        self._suite_number = 0  # counts all elements `suite`, as in `read_teardowns`
        self._test: RobotTest | None = None
        self._errors = RobotLog()
        self._total: XmlAttributes = {}
        self._failing = self._not_passed = 0  # number of results
        self._openers = {
            **dict.fromkeys(TITLES, self._open_keyword),
            "arguments": self._open_list,
            "arg": self._open_argument,
            "var": self._open_variable,
            "msg": self._open_message,
            "robot": self._open_root,
            "suite": self._open_suite,
            "test": self._open_test,
            "status": self._open_status,
            "tags": self._open_list,
            "tag": self._open_property,
            "meta": self._open_property,
            "errors": self._open_errors,
            "total": _open_total,
            "stat": self._open_stat,
        }
        self._closers = {
            **dict.fromkeys(TITLES, self._close_keyword),
            **dict.fromkeys(("arg", "var"), self._pop_text_handler),
            "msg": self._close_message,
            "suite": self._close_suite,
            "test": self._close_test,
            "status": self._pop_text_handler,
            **dict.fromkeys(("tag", "meta"), self._close_property),
        }

    def finish(self) -> list[ResultIn]:
        """End the document, and return the remaining results."""
        results = super().finish()
        self._declare(self._total, _DECLARED)
        if self._not_passed:
            self._metadata.output.add_suite("run", [("errors.txt", BoundedText(self._errors.log_text))])
        return results

    def _open_root(self, _tag: str, _attributes: XmlAttributes) -> RobotSuite:
        return self._suites[0]

    def _open_suite(self, _tag: str, attributes: XmlAttributes) -> RobotSuite | None:
        self._suite_number += 1
        if not isinstance(self._open[-1], RobotSuite):  # a suite of the statistics
            return None
        suite = RobotSuite(attributes, self._suites[-1], self._teardowns.find(str(self._suite_number)))
        suite.failing = self._failing
        self._suites.append(suite)
        return suite

    def _close_suite(self, suite: RobotSuite) -> None:
        self._suites.pop()
        if len(self._suites) == 1:
            self._add_times(suite)
        if suite.has_failed and (suite.has_unstated_failure or self._failing == suite.failing):
            self._add_failure_of_suite(suite)
        elif suite.failures:
            self._metadata.output.add_suite(suite.label, [(_LOG, suite.log)])
        self._suites[-1].stated |= suite.stated

    def _add_failure_of_suite(self, suite: RobotSuite) -> None:
        """Add a failure that belongs to no test as a separate result, so that it isn't lost."""
        result: ResultIn = {"suite": suite.label, "name": SUITE_LEVEL_NAME, "status": status_of(suite.state)}
        message = text_of_message(suite.message.details().strip())
        if failure := make_failure(message=message, details=suite.paths):
            result["failure"] = failure
        self._finish_result(result, suite)

    def _add_times(self, suite: RobotSuite) -> None:
        duration_ms = duration_of(suite.state, self._metadata.unreadable)
        start = suite.state.get("start") or suite.state.get("starttime")
        self._metadata.times.add(timestamp(start), duration_ms)
        self._metadata.times.set_duration(duration_ms)

    def _open_test(self, _tag: str, attributes: XmlAttributes) -> RobotTest:
        self._test = test = RobotTest(attributes)
        return test

    def _close_test(self, test: RobotTest) -> None:
        self._test = None
        suite, metadata = self._suites[-1], self._metadata
        result = result_of(test, suite, metadata.unreadable)
        if test.properties:
            result["properties"] = test.properties.pairs
        if test.attachments:
            result["artifacts"] = references(test.attachments)
        if failure := result.get("failure"):
            message = failure.get("message") or ""
            suite.add_statement(message)
            if suite.teardown is not None or FAILURE_OF_SUITE.search(message):
                result = mark_outside(result, "setup or teardown of the suite")
        metadata.counted.update(("tests", _COUNT_OF.get(result["status"], "errors")))
        metadata.contains_failures |= any(states_failure(each["status"]) for each in result.get("attempts") or ())
        self._finish_result(result, test)

    def _finish_result(self, result: ResultIn, body: RobotBody) -> None:
        """Add a result, with the log of its failed keywords if it didn't pass."""
        status, metadata = result["status"], self._metadata
        if status != "passed":
            self._not_passed += 1
            self._failing += states_failure(status)
            metadata.contains_failures |= states_failure(status)
            if body.failures:
                set_output(result, metadata.output.add(f"{result['suite']} {result['name']}", [(_LOG, body.log)]))
        self._results.append(result)

    def _open_keyword(self, tag: str, attributes: XmlAttributes) -> RobotKeyword | None:
        return RobotKeyword(tag, attributes) if isinstance(self._open[-1], RobotBody) else None

    def _close_keyword(self, keyword: RobotKeyword) -> None:
        if keyword.status == FAILED:
            parent: RobotBody = self._open[-1]
            parent.add_failures(keyword.failed_keywords())

    def _open_list(self, _tag: str, _attributes: XmlAttributes) -> Any:
        """Pass the test or the keyword to the elements of a list, which versions before 4 write around them."""
        return self._open[-1]

    def _open_argument(self, _tag: str, _attributes: XmlAttributes) -> RobotKeyword | None:
        keyword = self._open[-1]
        if not isinstance(keyword, RobotKeyword) or len(keyword.arguments) >= MAX_ARGUMENTS:
            return None
        keyword.start_argument()
        self._push_text_handler(keyword.add_argument)
        return keyword

    def _open_variable(self, tag: str, attributes: XmlAttributes) -> RobotKeyword | None:
        """Collect the value of a variable in an iteration. Other variables are those that a keyword assigns."""
        parent = self._open[-1]
        if not isinstance(parent, RobotKeyword) or parent.tag != "iter":
            return None
        iteration = self._open_argument(tag, attributes)
        if iteration:
            iteration.add_argument(f"{attributes.get('name', '')} = ")
        return iteration

    def _open_message(self, _tag: str, attributes: XmlAttributes) -> RobotLog | _HtmlMessage | None:
        log = self._open[-1]
        if not isinstance(log, RobotLog):
            return None
        time = attributes.get("time") or attributes.get("timestamp", "")
        log.add_message(f"\n{time} {attributes.get('level', '')} ")
        if attributes.get("html") not in _IS_HTML:
            self._push_text_handler(log.add_message)
            return log
        message = _HtmlMessage(log)
        self._push_text_handler(message.html.add)
        return message

    def _close_message(self, opened: RobotLog | _HtmlMessage) -> None:
        self._pop_text_handler()
        if isinstance(opened, _HtmlMessage):
            html = opened.html.details()
            opened.log.add_message(text_of_html(html))
            for file in files_of(html):
                self._attach(file)

    def _attach(self, attachment: Attachment) -> None:
        (self._test or self._metadata.output).attach(attachment)

    def _open_status(self, _tag: str, attributes: XmlAttributes) -> RobotTest | RobotSuite | None:
        body = self._open[-1]
        if isinstance(body, RobotKeyword):
            body.status = attributes.get("status", "")
        elif isinstance(body, RobotTest | RobotSuite):
            body.state = attributes
            body.message = BoundedText()
            self._push_text_handler(body.message.add)
            return body
        return None

    def _open_property(self, tag: str, attributes: XmlAttributes) -> RobotProperty | None:
        """Collect a tag, or the value of the metadata of a test."""
        test = self._open[-1]
        name = "tags" if tag == "tag" else attributes.get("name")
        if not (isinstance(test, RobotTest) and name):
            return None
        opened = RobotProperty(test, name)
        self._push_text_handler(opened.value.add)
        return opened

    def _close_property(self, opened: RobotProperty) -> None:
        self._pop_text_handler()
        self._metadata.dropped_properties += not opened.test.add_property(opened.name, opened.value.details())

    def _open_errors(self, _tag: str, _attributes: XmlAttributes) -> RobotLog:
        return self._errors

    def _open_stat(self, _tag: str, attributes: XmlAttributes) -> None:
        """Keep the last total. Versions before 4 also state a total of critical tests."""
        if self._open[-1] == _TOTAL:
            self._total = attributes


def _open_total(_tag: str, _attributes: XmlAttributes) -> str:
    return _TOTAL
