"""The suites of NUnit 3 XML, and the statuses of suites and cases."""

from typing import Final, cast

from service.domain.statuses import ResultStatus, read_status, states_failure
from service.reports.paths import portable_name, portable_path
from service.reports.readers.xml_cases import XmlCase
from service.reports.suites import MAX_LABEL
from service.reports.xml_reader import XmlAttributes

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


class NUnitSuite(XmlCase):
    """An open suite, with the number of results that didn't pass before it."""

    def __init__(self, tag: str, attributes: XmlAttributes, not_passed: int) -> None:
        super().__init__(tag, attributes)
        self.not_passed = not_passed


def label_of(suite: XmlAttributes) -> str:
    """Return the full name of a suite, or the file name of an assembly."""
    full_name = suite.get("fullname") or suite.get("name", "")
    is_file = suite.get("type") in _NAMED_BY_FILE
    return (portable_path(full_name) if is_file else portable_name(full_name))[:MAX_LABEL]


def status_of(attributes: XmlAttributes) -> ResultStatus:
    """Return the status of a case or a suite, or an unknown word, which ingest stores as an error."""
    word = _word(attributes)
    status = _STATUS_OF_RESULT.get(word) or read_status(word) or cast("ResultStatus", word)
    return _STATUS_OF_LABEL.get(attributes.get("label", ""), status) if status == "failed" else status


def states_unreported_failure(case: XmlCase) -> bool:
    """Return whether a case contains the text of a failure, which its result must state.

    pytest-nunit adds a failure to each case. If a case passed, its text is that of an expected failure.
    """
    is_of_pytest = case.properties is not None and _OF_PYTEST in case.properties.pairs
    return not is_of_pytest and any(each.failure for each in case.failures or () if not each.is_reason)


def has_failed(suite: XmlAttributes) -> bool:
    """Return whether a suite or the run states a failure."""
    word = _word(suite)
    return word not in ("", _NOTHING_RUN) and states_failure(_STATUS_OF_RESULT.get(word, word))


def has_own_failure(suite: NUnitSuite) -> bool:
    """Return whether the setup or the teardown of a suite failed, or the suite itself can't run."""
    site = suite.attributes.get("site")
    if site in _OF_OTHERS or not has_failed(suite.attributes):
        return False
    message = (suite.failure or {}).get("message") or ""
    return bool(site) or (bool(message) and message not in _CHILD_FAILED)


def _word(attributes: XmlAttributes) -> str:
    """Return the result without its label and its site, which Unity adds to that of a run: `Skipped:Ignored(Child)`."""
    return attributes.get("result", "").partition("(")[0].partition(":")[0]
