"""Detection of the producers of JUnit XML that need special rules."""

import re
from typing import Final

from service.reports.xml_reader import XmlAttributes

PYTEST: Final = "pytest"  # the suite of its tests
_PLAYWRIGHT_ROOT: Final = ["id", "name", "tests", "failures", "skipped", "errors", "time"]
# A suite of Vitest, of Playwright, or of jest-junit with the name `{filepath}`.
_TEST_FILE: Final = re.compile(r"(?:[^\s:]*/[^\s:/]+|[^\s:/]+\.(?:test|spec|cy))\.[cm]?[jt]sx?")


def is_playwright(root: XmlAttributes) -> bool:
    """Return whether the root is of Playwright, which writes its project (the browser) as the `hostname` of a suite."""
    return list(root) == _PLAYWRIGHT_ROOT


def is_pytest(element: XmlAttributes) -> bool:
    """Return whether the suite or root is of pytest.

    Only pytest counts the lines of a file from 0, and its class is always the module, also if it has the name of the
    test: `test_login.py::test_login`.
    """
    return element.get("name") in (PYTEST, "pytest tests")


def repeats_adjacent_cases(suite: XmlAttributes) -> bool:
    """Return whether the suite is of pytest, which writes the attempts of a case one after the other.

    In pytest, node IDs are unique, so that adjacent equal cases are executions of one case.
    """
    return suite.get("name") == PYTEST


def repeats_cases(name: str, value: str) -> bool:
    """Return whether the property is of gotestsum, which writes each attempt as a further case of the suite.

    Only gotestsum adds the platform to the value of `go.version`.
    """
    return name == "go.version" and " " in value


def allows_failures(skip_message: str) -> bool:
    """Return whether the message is of Catch2 for a case with the tag `[!mayfail]`, whose failures don't count."""
    return "!mayfail" in skip_message


def names_test_file(suite_name: str) -> bool:
    """Return whether a suite has the path of a JavaScript or TypeScript file as its name."""
    return _TEST_FILE.fullmatch(suite_name) is not None


def repeats_title(name: str, classname: str) -> bool:
    """Return whether the class is only the title of the test, as in mocha-junit-reporter.

    The name is the title after the titles of all suites.
    """
    return name.endswith(f" {classname}")
