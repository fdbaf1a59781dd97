"""Detection of the producers of JUnit XML that need special rules."""

from typing import Final

from service.reports.xml_reader import XmlAttributes

_PLAYWRIGHT_ROOT: Final = ["id", "name", "tests", "failures", "skipped", "errors", "time"]


def is_playwright(root: XmlAttributes) -> bool:
    """Return whether the root is of Playwright, which writes its project (the browser) as the `hostname` of a suite."""
    return list(root) == _PLAYWRIGHT_ROOT


def repeats_adjacent_cases(suite: XmlAttributes) -> bool:
    """Return whether the suite is of pytest, which writes the attempts of a case one after the other.

    In pytest, node IDs are unique, so that adjacent equal cases are executions of one case.
    """
    return suite.get("name") == "pytest"


def repeats_cases(name: str, value: str) -> bool:
    """Return whether the property is of gotestsum, which writes each attempt as a further case of the suite.

    Only gotestsum adds the platform to the value of `go.version`.
    """
    return name == "go.version" and " " in value


def allows_failures(skip_message: str) -> bool:
    """Return whether the message is of Catch2 for a case with the tag `[!mayfail]`, whose failures don't count."""
    return "!mayfail" in skip_message
