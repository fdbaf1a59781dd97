"""Streaming reader of NUnit 3 XML, which the console of NUnit, Unity, and reporters of other languages write."""

from collections.abc import Iterator
from typing import BinaryIO, Final

from service.domain.statuses import ResultStatus, states_failure
from service.ingest.contract import ResultIn
from service.reports.conversion.attachments import Attachment
from service.reports.conversion.attempts import status_of_word
from service.reports.conversion.metadata import ReportMetadata
from service.reports.conversion.names import MAX_LABEL, SUITE_LEVEL_NAME, portable_name, portable_path, without_folder
from service.reports.conversion.output import BoundedText
from service.reports.conversion.times import utc_timestamp
from service.reports.formats.xml_cases import XmlCase, XmlCaseReader
from service.reports.streams.xml import XmlAttributes, read_xml

# A label is more precise than its result: `Failed` with the label `Error` isn't a failed assertion.
_STATUS_OF_LABEL: Final[dict[str, ResultStatus]] = {
    "Error": "error",
    "Invalid": "error",
    "Cancelled": "canceled",  # codespell:ignore cancelled - the spelling of NUnit
}
_STATUS_OF_RESULT: Final[dict[str, ResultStatus]] = {
    **dict.fromkeys(("Passed", "Warning"), "passed"),
    "Failed": "failed",
    "Skipped": "skipped",
    "": "error",
}
_NOTHING_RUN: Final = "Inconclusive"  # result of an empty suite
_OF_OTHERS: Final = ("Child", "Parent")  # sites of a failure that another suite or a case states
# The messages of suites without a site, which older versions write if a case failed.
_CHILD_FAILED: Final = ("One or more child tests had errors", "Child test failed")
_NAMED_BY_FILE: Final = ("Assembly", "Project")  # kinds of suites whose full name is an absolute path
_OF_PYTEST: Final = "python-version"  # property of each case of pytest-nunit
_ROOTS: Final = frozenset({"test-run"})
_DECLARED: Final = (("total", "tests"), ("failed", "failures"), ("inconclusive", "errors"), ("skipped", "skipped"))
_SEPARATORS: Final = ".:"  # after the suite in a name
_INTERNAL: Final = "_"  # start of the properties of NUnit itself, such as `_PID` and `_JOINTYPE`
_ITERATIONS: Final = ("retryIteration", "repeatIteration")  # are 0 in each case of Unity


def read(source: BinaryIO, metadata: ReportMetadata) -> Iterator[list[ResultIn]]:
    """Yield the results in lists of bounded size. Raises ReportError if the file isn't well-formed NUnit XML."""
    return read_xml(source, _NUnitReader, metadata)


class _NUnitSuite(XmlCase):
    """An open suite, with the number of results that didn't pass before it."""

    def __init__(self, tag: str, attributes: XmlAttributes, not_passed: int) -> None:
        super().__init__(tag, attributes)
        self.not_passed = not_passed


class _NUnitReader(XmlCaseReader):
    """The handlers of the elements of NUnit 3 XML."""

    def __init__(self, metadata: ReportMetadata, encoding: str) -> None:
        super().__init__(metadata, encoding, _ROOTS, "NUnit 3 XML")
        self._not_passed = 0  # number of results
        self._attachment: dict[str, BoundedText] = {}  # path and description of the open attachment
        self._openers |= {
            "test-run": self._open_run,
            "test-suite": self._open_suite,
            "test-case": XmlCase,
            "properties": self._open_container,
            "attachments": self._open_container,
            "property": self._open_property,
            "attachment": self._open_attachment,
            **dict.fromkeys(("filePath", "description"), self._open_attachment_text),
        }
        self._closers |= {
            "test-suite": self._close_suite,
            "test-case": self._close_case,
            "attachment": self._close_attachment,
            **dict.fromkeys(("filePath", "description"), self._pop_text_handler),
        }

    def _open_run(self, _tag: str, attributes: XmlAttributes) -> None:
        self._declare(attributes, _DECLARED)
        self._metadata.declares_failures |= _has_failed(attributes)
        self._metadata.times.add(utc_timestamp(attributes.get("start-time")))
        self._metadata.times.set_end(utc_timestamp(attributes.get("end-time")))
        self._metadata.times.set_duration(self._duration(attributes))

    def _open_suite(self, tag: str, attributes: XmlAttributes) -> _NUnitSuite:
        self._metadata.declares_failures |= _has_failed(attributes)
        return _NUnitSuite(tag, attributes, self._not_passed)

    def _open_property(self, _tag: str, attributes: XmlAttributes) -> None:
        case, name, value = self._open[-1], attributes.get("name", ""), attributes.get("value", "")
        if name.startswith(_INTERNAL) or (name in _ITERATIONS and value == "0"):
            return
        if isinstance(case, XmlCase) and not isinstance(case, _NUnitSuite):
            self._add_property(case, name, value)

    def _open_attachment(self, _tag: str, _attributes: XmlAttributes) -> XmlCase | None:
        self._attachment = {"filePath": BoundedText(), "description": BoundedText()}
        return self._open_container(_tag, _attributes)

    def _open_attachment_text(self, tag: str, _attributes: XmlAttributes) -> BoundedText | None:
        return (
            self._collect(self._attachment[tag]) if isinstance(self._open[-1], XmlCase) and self._attachment else None
        )

    def _close_attachment(self, case: XmlCase) -> None:
        path, description = (text.details().strip() for text in self._attachment.values())
        self._attachment = {}
        attachment = Attachment(path, description or None)
        if not isinstance(case, _NUnitSuite):
            case.attach(attachment)
        elif path:
            self._metadata.output.attach(attachment)

    def _close_case(self, case: XmlCase) -> None:
        attributes = case.attributes
        suite, name = self._identity(attributes)
        status = _status_of(attributes)
        if case.failures and status == "passed" and _states_unreported_failure(case):
            status = "failed"
        result: ResultIn = {"suite": suite, "name": name, "status": status}
        duration_ms = self._duration(attributes)
        if duration_ms is not None:
            result["duration_ms"] = duration_ms
        if started_at := utc_timestamp(attributes.get("start-time")):
            result["started_at"] = started_at
        self._count(status)
        self._not_passed += status != "passed"
        self._results.append(self._complete(result, case))

    def _identity(self, attributes: XmlAttributes) -> tuple[str, str]:
        """Return the suite and the name of a case. The full name of a case of NUnit starts with its fixture.

        Other tools state only a class (`TestCart`), or nothing: the suite around the case has the complete name then.
        """
        name, full_name = attributes.get("name", ""), attributes.get("fullname", "")
        suite = full_name.removesuffix(f".{name}")
        if suite == full_name:
            class_name, fixture = attributes.get("classname", ""), self._fixture()
            suite = fixture if fixture.endswith(class_name) else class_name
        suite = without_folder(suite)[:MAX_LABEL]
        short = without_folder(name).removeprefix(suite).lstrip(_SEPARATORS) if suite else name
        return suite, short or name or full_name or suite

    def _fixture(self) -> str:
        """Return the name of the innermost suite."""
        return next(
            (_label_of(suite.attributes) for suite in reversed(self._open) if isinstance(suite, _NUnitSuite)), ""
        )

    def _close_suite(self, suite: _NUnitSuite) -> None:
        label = _label_of(suite.attributes)
        if _has_own_failure(suite):
            result: ResultIn = {"suite": label, "name": SUITE_LEVEL_NAME, "status": _status_of(suite.attributes)}
            if failure := suite.failure:
                result["failure"] = failure
            self._metadata.contains_failures = True
            self._not_passed += 1
            self._results.append(result)
        if suite.outputs and self._not_passed > suite.not_passed:
            self._metadata.output.add_suite(label, suite.outputs.items())

    def _duration(self, attributes: XmlAttributes) -> float | None:
        """Return the duration, which versions before 3.0 state as `time`."""
        return self._seconds(attributes.get("duration") or attributes.get("time"))


def _has_failed(suite: XmlAttributes) -> bool:
    """Return whether a suite or the run states a failure."""
    word = _word(suite)
    return word not in ("", _NOTHING_RUN) and states_failure(_STATUS_OF_RESULT.get(word, word))


def _word(attributes: XmlAttributes) -> str:
    """Return the result without its label and its site, which Unity adds for a run: `Skipped:Ignored(Child)`."""
    return attributes.get("result", "").partition("(")[0].partition(":")[0]


def _status_of(attributes: XmlAttributes) -> ResultStatus:
    """Return the status of a case or a suite, or an unknown word, which ingest stores as an error."""
    word = _word(attributes)
    status = _STATUS_OF_RESULT.get(word) or status_of_word(word)
    return _STATUS_OF_LABEL.get(attributes.get("label", ""), status) if status == "failed" else status


def _states_unreported_failure(case: XmlCase) -> bool:
    """Return whether a case contains the text of a failure, which its result must state.

    pytest-nunit adds a failure to each case. The failure of a case that passed was expected.
    """
    is_of_pytest = case.properties is not None and _OF_PYTEST in case.properties.pairs
    return not is_of_pytest and any(each.failure for each in case.failures or () if not each.is_reason)


def _label_of(suite: XmlAttributes) -> str:
    """Return the full name of a suite, or the file name of an assembly."""
    full_name = suite.get("fullname") or suite.get("name", "")
    is_file = suite.get("type") in _NAMED_BY_FILE
    return (portable_path(full_name) if is_file else portable_name(full_name))[:MAX_LABEL]


def _has_own_failure(suite: _NUnitSuite) -> bool:
    """Return whether the setup or the teardown of a suite failed, or the suite itself can't run."""
    site = suite.attributes.get("site")
    if site in _OF_OTHERS or not _has_failed(suite.attributes):
        return False
    message = (suite.failure or {}).get("message") or ""
    return bool(site) or (bool(message) and message not in _CHILD_FAILED)
