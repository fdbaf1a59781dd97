"""Detection of the producers of JUnit XML that need special rules."""

from collections.abc import Mapping
from typing import Final

_PLAYWRIGHT_ROOT: Final = ["id", "name", "tests", "failures", "skipped", "errors", "time"]
_SCHEMA: Final = "xsi:noNamespaceSchemaLocation"

XmlAttributes = Mapping[str, str]


def is_playwright(root: XmlAttributes) -> bool:
    """Return whether the root is of Playwright, which writes its project (the browser) as the `hostname` of a suite."""
    return list(root) == _PLAYWRIGHT_ROOT


def root_retries(root: XmlAttributes) -> bool:
    """Return whether the root is of nextest, which writes each attempt as a further case."""
    return root.get("name") == "nextest-run" or "uuid" in root


def suite_retries(suite: XmlAttributes) -> bool:
    """Return whether the suite is of pytest or Surefire, which write each attempt as a further case.

    In pytest, node IDs are unique except for reruns.
    """
    return suite.get("name") == "pytest" or "surefire" in suite.get(_SCHEMA, "")


def property_retries(name: str, value: str) -> bool:
    """Return whether the property is of Surefire or gotestsum, which write each attempt as a further case.

    Only gotestsum adds the platform to the value of `go.version`.
    """
    return name.startswith("surefire.") or (name == "go.version" and " " in value)
