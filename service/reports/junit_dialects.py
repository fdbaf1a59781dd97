"""What producers of JUnit XML do in ways of their own, and how to know them."""

from collections.abc import Mapping
from typing import Final

_PLAYWRIGHT_ROOT: Final = ["id", "name", "tests", "failures", "skipped", "errors", "time"]
_SCHEMA: Final = "xsi:noNamespaceSchemaLocation"

XmlAttributes = Mapping[str, str]


def is_playwright(root: XmlAttributes) -> bool:
    """Playwright puts its project (the browser) where others have the name of the machine."""
    return list(root) == _PLAYWRIGHT_ROOT


def root_retries(root: XmlAttributes) -> bool:
    """Whether a repeated case is a further attempt, going by the root: so with nextest."""
    return root.get("name") == "nextest-run" or "uuid" in root


def suite_retries(suite: XmlAttributes) -> bool:
    """The same by a suite: pytest, whose node ids are unique but for reruns, and surefire."""
    return suite.get("name") == "pytest" or "surefire" in suite.get(_SCHEMA, "")


def property_retries(name: str, value: str) -> bool:
    """The same by a property of the suite: gotestsum names the platform beside the version, others don't."""
    return name.startswith("surefire.") or (name == "go.version" and " " in value)
