"""Conversion of one JUnit XML test case, with its child elements, to one native result."""

import re
from collections.abc import Sequence
from typing import Final

from service.contracts.run_events import AttemptIn, Failure, ResultIn
from service.domain.statuses import ResultStatus
from service.reports.attachments import MAX_ATTACHMENTS, Attachment, references
from service.reports.attempts import attempts_of
from service.reports.junit_dialects import XmlAttributes
from service.reports.retries import RetryMerger
from service.reports.suites import MAX_LABEL, suite_label
from service.reports.times import milliseconds, timestamp

SUITE_LEVEL_NAME: Final = "(suite)"  # name of the case for a failure of a suite itself

_MAX_COLLECTED: Final = 200_000  # characters; exceeds the stored length, so that ingest truncates the text and notes it
_MAX_LABELS: Final = 10_000
_RUN_STAMP: Final = re.compile(r"-\d{14}$")  # unittest-xml-reporting appends the time of the run to the suite name
STATUS_OF: Final[dict[str, ResultStatus]] = {
    "error": "error",
    "failure": "failed",
    "skipped": "skipped",
    "skip": "skipped",
    "flakyError": "error",
    "flakyFailure": "failed",
    "rerunError": "error",
    "rerunFailure": "failed",
}
_BY_SEVERITY: Final[tuple[ResultStatus, ...]] = ("error", "failed", "skipped")
_STATUS_ATTRIBUTES: Final = frozenset({"status", "result"})
_FLAGS: Final = frozenset({"notrun", "disabled", "skipped", "ignored", "pending"})
_OPTIONAL_ATTRIBUTES: Final = _STATUS_ATTRIBUTES | _FLAGS | {"file", "timestamp"}
_NOT_RUN: Final = _FLAGS | {"not run", "not_run", "inactive", "suppressed", "skip", "todo"}


class JUnitSuite:
    """An open suite with the values that its cases inherit."""

    __slots__ = ("file", "labels", "path", "repeats")

    def __init__(
        self, attributes: XmlAttributes, parent: "JUnitSuite | None" = None, project: str | None = None
    ) -> None:
        name = _RUN_STAMP.sub("", attributes.get("name", ""))
        self.path: tuple[str, ...] = (*(parent.path if parent else ()), *filter(None, (project, name)))
        own_file = attributes.get("file") or attributes.get("filepath")
        inherited = parent.file if parent else None
        self.file: str | None = own_file[:MAX_LABEL] if own_file else inherited
        self.repeats: RetryMerger | None = RetryMerger() if parent and parent.repeats else None
        self.labels: dict[str | None, str] = {}

    def expect_repeats(self) -> None:
        """Treat repeated cases in this suite and its nested suites as attempts, because the producer retries cases."""
        self.repeats = self.repeats or RetryMerger()

    def label(self, classname: str | None, file: str | None = None) -> str:
        """Return the `suite` of a case by its class, or by its file if it has no class. Cache the label of a class."""
        label = suite_label(self.path, classname or "", file)
        if classname and len(self.labels) < _MAX_LABELS:
            self.labels[classname] = label
        return label


class JUnitElement:
    """An open element whose text is used: an outcome, a property, or an attachment."""

    __slots__ = ("_size", "_texts", "attributes", "tag")

    def __init__(self, tag: str, attributes: XmlAttributes) -> None:
        self.tag = tag
        self.attributes = attributes
        self._texts: list[str] = []
        self._size = 0

    def collect(self, text: str) -> None:
        """Add a chunk of the text."""
        if self._size < _MAX_COLLECTED:
            self._texts.append(text)
            self._size += len(text)

    @property
    def status(self) -> ResultStatus:
        """The status that this element represents."""
        return STATUS_OF[self.tag]

    @property
    def text(self) -> str:
        """The collected text."""
        return "".join(self._texts).strip()[:_MAX_COLLECTED]


class JUnitCase:
    """An open test case."""

    __slots__ = ("attachments", "attributes", "outcomes", "suite")

    def __init__(self, attributes: XmlAttributes, suite: JUnitSuite) -> None:
        self.attributes = attributes
        self.suite = suite
        # Most cases have no outcomes and no attachments, and creating an empty list for each case is slow.
        self.outcomes: list[JUnitElement] | None = None
        self.attachments: list[Attachment] | None = None

    def attach(self, attachment: Attachment) -> None:
        """Add a file of the case."""
        self.attachments = self.attachments or []
        if len(self.attachments) < MAX_ATTACHMENTS:
            self.attachments.append(attachment)


def result_of(case: JUnitCase) -> ResultIn:
    """Return the native result of a closed case."""
    attributes, suite = case.attributes, case.suite
    name = attributes.get("name", "")
    classname = attributes.get("classname")
    label = suite.labels.get(classname) if classname != name else None
    result: ResultIn = {
        "suite": label or _label_of(attributes, suite),
        "name": name,
        "status": "passed",
        "duration_ms": milliseconds(attributes.get("time")),
    }
    if suite.file:
        result["file"] = suite.file
    if not _OPTIONAL_ATTRIBUTES.isdisjoint(attributes):
        _add_optional_fields(result, attributes)
    if case.outcomes:
        _set_status(result, case.outcomes)
    if case.attachments:
        result["artifacts"] = references(case.attachments)
    return result


def suite_level_result(outcome: JUnitElement, suite: JUnitSuite) -> ResultIn:
    """Return a failure that belongs to no case as a separate result, so that it isn't lost."""
    result: ResultIn = {"suite": suite.label(None), "name": SUITE_LEVEL_NAME, "status": outcome.status}
    _add_failure(result, [outcome])
    return result


def _label_of(attributes: XmlAttributes, suite: JUnitSuite) -> str:
    """Return the suite by the class, or by the file if the class is missing or repeats the name."""
    classname = attributes.get("classname") or attributes.get("class")
    if classname and classname != attributes.get("name"):
        return suite.label(classname)
    return suite.label(None, attributes.get("file") or suite.file)


def _add_optional_fields(result: ResultIn, attributes: XmlAttributes) -> None:
    if file := attributes.get("file"):
        result["file"] = file
    if "timestamp" in attributes:
        result["started_at"] = timestamp(attributes["timestamp"])
    if _was_not_run(attributes):
        result["status"] = "skipped"


def _was_not_run(attributes: XmlAttributes) -> bool:
    stated = any(attributes.get(name, "").lower() in _NOT_RUN for name in _STATUS_ATTRIBUTES)
    return stated or any(attributes.get(name, "").lower() in ("true", "1", "yes") for name in _FLAGS)


def _set_status(result: ResultIn, outcomes: Sequence[JUnitElement]) -> None:
    """Set the most severe status of the outcomes, and add flaky and rerun elements as attempts."""
    flaky = [outcome for outcome in outcomes if outcome.tag.startswith("flaky")]
    reruns = [outcome for outcome in outcomes if outcome.tag.startswith("rerun")]
    own = [outcome for outcome in outcomes if not outcome.tag.startswith(("flaky", "rerun"))]
    stated = {outcome.status for outcome in own}
    result["status"] = next((status for status in _BY_SEVERITY if status in stated), "passed")
    _add_failure(result, [outcome for outcome in own if outcome.status == result["status"]])
    if flaky or reruns:
        _add_attempts(result, flaky, reruns)


def _add_attempts(result: ResultIn, flaky: list[JUnitElement], reruns: list[JUnitElement]) -> None:
    """Set the attempts. The case itself is the last attempt if it passed, otherwise the first failing one."""
    own = attempts_of(result)
    if result["status"] in ("failed", "error"):
        attempts = [*map(_attempt_of, flaky), *own, *map(_attempt_of, reruns)]
    else:
        attempts = [*map(_attempt_of, flaky), *map(_attempt_of, reruns), *own]
    attempts[-1]["status"] = result["status"]  # a different failure of the rerun doesn't change the status
    if failure := attempts[-1].get("failure"):
        result["failure"] = failure
    result["attempts"] = attempts


def _attempt_of(outcome: JUnitElement) -> AttemptIn:
    attempt: AttemptIn = {"status": outcome.status}
    if "time" in outcome.attributes:
        attempt["duration_ms"] = milliseconds(outcome.attributes["time"])
    if "timestamp" in outcome.attributes:
        attempt["started_at"] = timestamp(outcome.attributes["timestamp"])
    if failure := _failure_of(outcome):
        attempt["failure"] = failure
    return attempt


def _add_failure(result: ResultIn, outcomes: Sequence[JUnitElement]) -> None:
    """Set the failure: type and message of the first element, and the details of all."""
    failures = [failure for outcome in outcomes if (failure := _failure_of(outcome))]
    if not failures:
        return
    failure = failures[0]
    if len(failures) > 1:
        failure["details"] = "\n\n".join(map(_full_text, failures))[:_MAX_COLLECTED]
    result["failure"] = failure


def _failure_of(outcome: JUnitElement) -> Failure:
    failure: Failure = {}
    if kind := outcome.attributes.get("type"):
        failure["type"] = kind
    if message := outcome.attributes.get("message"):
        failure["message"] = message
    if details := outcome.text:
        failure["details"] = details
    return failure


def _full_text(failure: Failure) -> str:
    message, details = failure.get("message") or "", failure.get("details") or ""
    return details if message in details else f"{message}\n{details}".rstrip()
