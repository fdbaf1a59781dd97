"""The statuses that elements and attributes of a JUnit XML test case state, also in the spellings of single tools."""

from collections import Counter
from collections.abc import Iterator
from typing import Final, cast

from service.domain.statuses import FAILING, SEVERITY, ResultStatus, read_status
from service.reports.streams.xml import XmlAttributes

STATUS_OF: Final[dict[str, ResultStatus]] = {
    "error": "error",
    "failure": "failed",
    "skipped": "skipped",
    "skip": "skipped",
    "canceled": "canceled",
    "flakyError": "error",
    "flakyFailure": "failed",
    "rerunError": "error",
    "rerunFailure": "failed",
}
OF_EXECUTIONS: Final = ("flaky", "rerun")  # start of the tags that belong to other executions of the case
_WORDS: Final = ("status", "result", "outcome", "Status", "Result", "Outcome")
_NOT_RUN_FLAGS: Final = ("notrun", "disabled", "skipped", "ignored", "pending")
STATUS_ATTRIBUTES: Final = frozenset({*_WORDS, *_NOT_RUN_FLAGS})
_TAG_OF_STATUS: Final = {"failed": "failure", "error": "error", "skipped": "skipped", "canceled": "canceled"}
_OTHER_TAGS: Final = (
    "testcase", "testsuite", "testsuites", "properties", "property", "attachments", "attachment", "system-out",
    "system-err",
)  # fmt: skip
_TAGS: Final = {tag.lower(): tag for tag in (*STATUS_OF, *_OTHER_TAGS)}
# The case was executed, and only elements state its outcome: GoogleTest, Bazel, and the number of JunitXml.TestLogger.
_EXECUTED: Final = frozenset({"", "run", "completed", "executed", "1"})
_TRUE: Final = ("true", "1", "yes")
_FAILURE_WORDS: Final = ("fail", "error")
_MAX_LISTED: Final = 20  # names of unknown elements
_MAX_NAME: Final = 50


class UnknownElements:
    """The elements of cases that no known tool writes. An element with the name of a failure is read as a failure."""

    def __init__(self) -> None:
        self._ignored: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()

    def add(self, tag: str) -> bool:
        """Count an element, and return whether it is a failure."""
        is_failure = any(word in tag.lower() for word in _FAILURE_WORDS)
        counts, name = self._failures if is_failure else self._ignored, tag[:_MAX_NAME]
        if name in counts or len(counts) < _MAX_LISTED:
            counts[name] += 1
        return is_failure

    @property
    def notes(self) -> Iterator[str]:
        """The notes about the elements."""
        for treated, counts in (("ignored", self._ignored), ("read as failures", self._failures)):
            if counts:
                listed = ", ".join(f"<{name}> ({count})" for name, count in counts.items())
                yield f"testcase: unknown elements were {treated}: {listed}"


def usual_tag(tag: str) -> str | None:
    """Return the usual spelling of a tag in another case. None if the tag is unknown."""
    return _TAGS.get(tag.lower())


def usual_tag_in_case(tag: str) -> str | None:
    """Return the usual tag of an element in a case: also of a plural, and of another word for an outcome.

    None if the tag is unknown or states that the case passed.
    """
    name = tag.lower()
    if name in _TAGS:
        return _TAGS[name]
    status = read_status(name) or STATUS_OF.get(name.removesuffix("s"))
    return _TAG_OF_STATUS.get(status) if status else None


def states_pass(tag: str) -> bool:
    """Return whether an element of a case states that it passed."""
    return read_status(tag.lower()) == "passed"


def status_of_attributes(attributes: XmlAttributes) -> ResultStatus:
    """Return the most severe status that the attributes of a case state. An unknown word is the most severe one.

    Ingest stores a result with an unknown word as an error.
    """
    words = [word for name in _WORDS if (word := attributes.get(name, "")).lower() not in _EXECUTED]
    statuses = [read_status(word) for word in words]
    if None in statuses:
        return cast("ResultStatus", words[statuses.index(None)])
    if any(attributes.get(name, "").lower() in _TRUE for name in _NOT_RUN_FLAGS):
        statuses.append("skipped")
    return max(filter(None, statuses), key=SEVERITY.__getitem__, default="passed")


def combine(of_attributes: ResultStatus, of_elements: ResultStatus) -> ResultStatus:
    """Return the status of a case with elements that state an outcome. Attributes can only make it a failure.

    An unknown word in an attribute doesn't matter then.
    """
    if of_elements not in FAILING and of_attributes in FAILING:
        return of_attributes
    return of_elements
