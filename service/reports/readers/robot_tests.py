"""The open suites and tests of Robot Framework, and the conversion of a test to a result."""

from typing import Final, cast

from service.contracts.run_events import AttemptIn, Failure, ResultIn
from service.domain.properties import PropertyCollector
from service.domain.statuses import ResultStatus, read_status, states_failure
from service.reports.attachments import MAX_ATTACHMENTS, Attachment
from service.reports.attempts import MAX_ATTEMPTS, attempts_of
from service.reports.bounded_text import BoundedText
from service.reports.metadata import UnreadableDurations
from service.reports.paths import NO_CHECKOUT, Checkout, portable_name
from service.reports.readers.robot_keywords import RobotBody
from service.reports.readers.robot_messages import merged_executions, text_of_message
from service.reports.readers.robot_teardowns import MAX_TEARDOWN
from service.reports.suites import MAX_LABEL, suite_label
from service.reports.times import milliseconds, timestamp
from service.reports.xml_reader import XmlAttributes, line_of

_PARTS: Final = ("setup", "teardown")  # of a suite
_TEARDOWN_FAILED: Final = "Parent suite teardown failed:\n"
_ALSO_FAILED: Final = "\n\nAlso parent suite teardown failed:\n"


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
        self.teardown: str | None = _ALSO_FAILED.join(failed)[:MAX_TEARDOWN] if failed else None
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


class RobotTest(RobotBody):
    """An open test or task."""

    properties: PropertyCollector | None = None
    attachments: list[Attachment] | None = None
    message: BoundedText | None = None

    def __init__(self, attributes: XmlAttributes) -> None:
        self.attributes = attributes
        self.state: XmlAttributes = {}  # the attributes of the status

    def attach(self, attachment: Attachment) -> None:
        """Add a file that a message shows."""
        self.attachments = self.attachments or []
        if len(self.attachments) < MAX_ATTACHMENTS:
            self.attachments.append(attachment)

    def add_property(self, name: str, value: str) -> bool:
        """Add a tag or another value, and return False if it exceeds the limits."""
        self.properties = self.properties or PropertyCollector()
        return self.properties.add(name, value)


class RobotProperty:
    """An open tag, or another named value of a test."""

    __slots__ = ("name", "test", "value")

    def __init__(self, test: RobotTest, name: str) -> None:
        self.test = test
        self.name = name
        self.value = BoundedText()


def result_of(test: RobotTest, suite: RobotSuite, unreadable: UnreadableDurations) -> ResultIn:
    """Return the result of a closed test, without its output and its files."""
    name = portable_name(test.attributes.get("name", "")) or ".".join(suite.path)
    status = status_of(test.state)
    message = test.message.details().strip() if test.message else ""
    executions = merged_executions(message)
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
    if status != "passed" and (failure := failure_of(message, test.paths)):
        result["failure"] = failure
    if executions:
        earlier = [_attempt_of(*execution) for execution in executions[:-1]]
        result["attempts"] = [*earlier, *attempts_of(result)][-MAX_ATTEMPTS:]
    return result


def status_of(state: XmlAttributes) -> ResultStatus:
    """Return the status, or an unknown word itself, which ingest stores as an error."""
    word = state.get("status")
    return read_status(word) or cast("ResultStatus", word)


def duration_of(state: XmlAttributes, unreadable: UnreadableDurations) -> float | None:
    """Return the duration in milliseconds. Robot Framework 7 states it, and older versions state start and end."""
    elapsed = state.get("elapsed")
    if elapsed is not None:
        duration_ms = milliseconds(elapsed)
    else:
        start, end = timestamp(state.get("starttime")), timestamp(state.get("endtime"))
        if start is None or end is None or (start.tzinfo is None) != (end.tzinfo is None):
            return None
        elapsed = str((end - start).total_seconds())
        duration_ms = milliseconds(elapsed)
    if duration_ms is None:
        unreadable.add(elapsed)
    return duration_ms


def failure_of(message: str, paths: str) -> Failure:
    """Return a message with the paths of the failed keywords, without texts that are missing."""
    return cast("Failure", {name: text for name, text in (("message", message), ("details", paths)) if text})


def _attempt_of(word: str, message: str) -> AttemptIn:
    """Return an earlier execution of a merged result, of which only status and message are known."""
    status = status_of({"status": word})
    attempt: AttemptIn = {"status": status}
    if message and status != "passed":
        attempt["failure"] = {"message": message}
    return attempt
