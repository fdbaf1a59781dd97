"""Streaming reader of testng-results.xml, the report of TestNG."""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import BinaryIO, Final

from service.domain.statuses import ResultStatus
from service.ingest.contract import ResultIn
from service.reports.conversion.attempts import add_attempt, estimate_size, status_of_word
from service.reports.conversion.metadata import ReportMetadata
from service.reports.conversion.names import MAX_LABEL, OUTSIDE_OF_TESTS, portable_name, portable_value, suite_label
from service.reports.conversion.output import BoundedText, output_text
from service.reports.conversion.times import timestamp, valid_milliseconds
from service.reports.formats.xml_cases import XmlCase, XmlCaseReader
from service.reports.streams.xml import XmlAttributes, read_xml

_ZONE: Final = re.compile(r"(?:UTC|GMT)([+-]\d\d:?\d\d)?")  # other names, such as IST, are ambiguous
_MAX_GROUPS: Final = 64 * 2**20  # bytes of all groups of a suite, estimated
_MAX_GROUPS_OF_METHOD: Final = 100
_GROUP_BYTES: Final = 300  # of a group of a method, without the texts
_MAX_HELD: Final = 2 * 2**20  # characters of the held results of a class, and of the retried ones, estimated
_ROOTS: Final = frozenset({"testng-results"})
_TESTS: Final = ("passed", "failed", "skipped")  # `total` also contains methods that aren't listed
_DECLARED: Final = (*((name, "tests") for name in _TESTS), ("failed", "failures"), ("skipped", "skipped"))
# `SUCCESS_PERCENTAGE_FAILURE`: an invocation failed within the permitted percentage of failures.
_STATUS_OF: Final[dict[str, ResultStatus]] = {
    "PASS": "passed", "FAIL": "failed", "SKIP": "skipped", "": "error", "SUCCESS_PERCENTAGE_FAILURE": "failed",
}  # fmt: skip
# The names of tests that no configuration states. They aren't part of the suite.
_DEFAULT_TESTS: Final = frozenset(
    {"ant test", "command line test", "default test", "gradle test", "surefire test", "testsuite"}
)
_NULL: Final = "null"
_MAX_VALUES: Final = 100  # per execution
_MAX_DIGITS: Final = 15  # of a duration
_OUTPUT: Final = "log.txt"


def read(source: BinaryIO, metadata: ReportMetadata) -> Iterator[list[ResultIn]]:
    """Yield the results in lists of bounded size. Raises ReportError if the file isn't well-formed TestNG XML."""
    return read_xml(source, _TestNGReader, metadata)


class RetriedExecutions:
    """Adds the retried executions of one class to the execution that decides, as its earlier attempts.

    TestNG sorts executions by their start, so that a fast execution can be listed before the one that it repeats.
    Therefore, the results of a class are held if the report states retries.
    """

    def __init__(self, holds: bool) -> None:
        self._holds = holds
        self._held: list[ResultIn] = []
        self._retried: dict[str, list[ResultIn]] = {}
        self._held_size = self._retried_size = 0

    def add(self, result: ResultIn, is_retried: bool) -> Iterable[ResultIn]:
        """Add the next execution, and return the results that can't get a further attempt."""
        size = estimate_size(result) + len(result["name"])
        if is_retried:
            self._retried.setdefault(result["name"], []).append(result)
            self._retried_size += size
            return self.flush() if self._retried_size > _MAX_HELD else ()
        self._held.append(_with_attempts(self._retried.pop(result["name"], ()), result))
        self._held_size += size
        if not self._retried:
            self._retried_size = 0
        return () if self._holds and self._held_size <= _MAX_HELD else self._take_held()

    def flush(self) -> list[ResultIn]:
        """Return the results at the end of the class. A retried execution without a further one is a result."""
        last = {result["name"]: position for position, result in enumerate(self._held)}
        for name, retried in self._retried.items():
            if name in last:
                position = last[name]
                self._held[position] = _with_attempts(retried, self._held[position])
            else:
                self._held.append(_with_attempts(retried[:-1], retried[-1]))
        self._retried.clear()
        self._retried_size = 0
        return self._take_held()

    def _take_held(self) -> list[ResultIn]:
        held, self._held, self._held_size = self._held, [], 0
        return held


class _TestNGCase(XmlCase):
    """An open execution of a method, with its parameters."""

    values: list[BoundedText] | None = None


class _TestNGReader(XmlCaseReader):
    """The handlers of the elements of testng-results.xml."""

    def __init__(self, metadata: ReportMetadata, encoding: str) -> None:
        super().__init__(metadata, encoding, _ROOTS, "TestNG XML")
        self._test = self._class = self._group = ""
        self._case: _TestNGCase | None = None
        self._groups = _MethodGroups()
        self._has_retries = False
        self._executions = RetriedExecutions(holds=False)  # of the open class
        self._openers |= {
            "testng-results": self._open_root,
            "suite": self._open_suite,
            "group": self._open_group,
            "method": self._open_method,
            "test": self._open_test,
            "class": self._open_class,
            "test-method": self._open_case,
            "value": self._open_value,
            "exception": self._open_failure,
            "full-stacktrace": self._open_details,
            "line": self._open_line,
            "attribute": self._open_attribute,
        }
        self._closers |= {
            "class": self._close_class,
            "test-method": self._close_case,
            **dict.fromkeys(("value", "full-stacktrace"), self._pop_text_handler),
            "line": self._close_line,
            "attribute": self._close_attribute,
        }

    def _open_root(self, _tag: str, attributes: XmlAttributes) -> None:
        self._declare(attributes, _DECLARED)
        self._has_retries = attributes.get("retried", "0") != "0"

    def _open_suite(self, _tag: str, attributes: XmlAttributes) -> None:
        self._groups = _MethodGroups()
        self._metadata.times.add(_zoned_time(attributes.get("started-at")), self._duration(attributes))

    def _open_group(self, _tag: str, attributes: XmlAttributes) -> None:
        self._group = attributes.get("name", "")

    def _open_method(self, _tag: str, attributes: XmlAttributes) -> None:
        method = attributes.get("class", ""), attributes.get("name", "")
        self._metadata.dropped_properties += not self._groups.add(method, self._group)

    def _open_test(self, _tag: str, attributes: XmlAttributes) -> None:
        name = portable_name(attributes.get("name", ""))
        self._test = "" if name.lower() in _DEFAULT_TESTS else name

    def _open_class(self, _tag: str, attributes: XmlAttributes) -> RetriedExecutions:
        self._class = attributes.get("name", "")
        self._executions = RetriedExecutions(self._has_retries)
        return self._executions

    def _close_class(self, executions: RetriedExecutions) -> None:
        self._results.extend(executions.flush())

    def _open_case(self, tag: str, attributes: XmlAttributes) -> _TestNGCase:
        self._case = case = _TestNGCase(tag, attributes)
        return case

    def _open_value(self, _tag: str, attributes: XmlAttributes) -> BoundedText | None:
        """Collect a parameter. A value that is null has no text."""
        case = self._case
        if case is None or len(case.values or ()) >= _MAX_VALUES:
            return None
        text = BoundedText(_NULL if attributes.get("is-null") == "true" else "")
        case.values = [*(case.values or ()), text]
        return self._collect(text)

    def _open_line(self, _tag: str, _attributes: XmlAttributes) -> BoundedText | None:
        return self._collect(BoundedText()) if self._case else None

    def _close_line(self, line: BoundedText) -> None:
        self._pop_text_handler()
        if self._case:
            output_text(self._case, _OUTPUT).add(line.details().strip())

    def _open_attribute(self, _tag: str, attributes: XmlAttributes) -> tuple[str, BoundedText] | None:
        if self._case is None:
            return None
        text = BoundedText()
        self._push_text_handler(text.add)
        return attributes.get("name", ""), text

    def _close_attribute(self, attribute: tuple[str, BoundedText]) -> None:
        self._pop_text_handler()
        if self._case:
            self._add_property(self._case, attribute[0], attribute[1].details().strip())

    def _close_case(self, case: _TestNGCase) -> None:
        self._case = None
        if case.attributes.get("is-config") == "true":
            self._close_configuration(case)
            return
        is_retried = case.attributes.get("retried") == "true"
        values = [text.details() for text in case.values or ()]
        attributes = case.attributes
        name = attributes.get("name", "")
        instance = attributes.get("test-instance-name")
        name = _name_of(name, attributes.get("signature", ""), instance, values)
        status = _status_of(attributes)
        if is_retried and status == "skipped":
            status = "failed"  # TestNG retries only failures, and marks them as skipped
        result = self._result_of(case, name, status)
        if not is_retried:
            self._count(result["status"])
        self._results.extend(self._executions.add(result, is_retried))

    def _close_configuration(self, case: _TestNGCase) -> None:
        """Add a configuration method that didn't pass, so that its failure isn't lost."""
        status = _status_of(case.attributes)
        if status != "passed":
            name = case.attributes.get("name", "")
            self._add_property(case, OUTSIDE_OF_TESTS, "configuration method")
            self._results.append(self._result_of(case, name, "skipped" if status == "skipped" else "error"))

    def _result_of(self, case: _TestNGCase, name: str, status: ResultStatus) -> ResultIn:
        attributes = case.attributes
        suite = suite_label([self._test] if self._test else [], portable_name(self._class))[:MAX_LABEL]
        result: ResultIn = {"suite": suite, "name": name or suite, "status": status}
        duration_ms = self._duration(attributes)
        if duration_ms is not None:
            result["duration_ms"] = duration_ms
        started_at = _zoned_time(attributes.get("started-at"))
        if started_at and started_at.tzinfo:
            result["started_at"] = started_at
        if description := attributes.get("description"):
            self._add_property(case, "description", description)
        for group in self._groups.of((self._class, attributes.get("name", ""))):
            self._add_property(case, "groups", group)
        return self._complete(result, case)

    def _duration(self, attributes: XmlAttributes) -> float | None:
        written = attributes.get("duration-ms")
        if not written:
            return None
        is_number = written.isdecimal() and len(written) <= _MAX_DIGITS
        return self._metadata.unreadable.check(written, valid_milliseconds(int(written)) if is_number else None)


class _MethodGroups:
    """The groups of each method, which the report lists before the tests."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], list[str]] = {}
        self._size = 0

    def add(self, method: tuple[str, str], group: str) -> bool:
        """Add a group of a method of a class, and return False if it exceeds the limits."""
        self._size += _GROUP_BYTES + sum(map(len, method)) + len(group)
        groups = self._groups.get(method, [])
        if self._size > _MAX_GROUPS or len(groups) >= _MAX_GROUPS_OF_METHOD:
            return False
        groups.append(group)
        self._groups[method] = groups
        return True

    def of(self, method: tuple[str, str]) -> Sequence[str]:
        """Return the groups of a method of a class."""
        return self._groups.get(method, ())


def _with_attempts(earlier: Sequence[ResultIn], last: ResultIn) -> ResultIn:
    """Return one result with all executions as attempts, in this order."""
    if not earlier:
        return last
    first, *others = earlier
    for result in (*others, last):
        first = add_attempt(first, result)
    return first


def _zoned_time(text: str | None) -> datetime | None:
    """Parse a time such as `2026-05-20T12:00:00 UTC`. A time in a zone with an ambiguous name has no zone."""
    time, _, zone = (text or "").partition(" ")
    match = _ZONE.fullmatch(zone)
    return timestamp(f"{time}{match[1] or 'Z'}" if match else time)


def _name_of(name: str, signature: str, instance: str | None, values: Sequence[str]) -> str:
    """Return the method with its stated instance and its parameters: `adds[1, apple]`.

    An instance with a name replaces the name of each of its methods, which the signature still states.
    """
    method = signature.partition("(")[0].strip() if instance else name
    texts = [instance, *values] if instance else values
    return f"{method or name}[{', '.join(map(portable_value, texts))}]"[:MAX_LABEL] if texts else name


def _status_of(attributes: XmlAttributes) -> ResultStatus:
    """Return the status of an execution, or an unknown word, which ingest stores as an error."""
    word = attributes.get("status", "")
    return _STATUS_OF.get(word) or status_of_word(word)
