"""Reader of the definitions of a TRX file: the class of each test."""

import re
from typing import Final

from service.reports.case_classes import CaseClasses
from service.reports.suites import MAX_LABEL
from service.reports.xml_reader import XmlAttributes, XmlReader

ROOTS: Final = frozenset({"TestRun"})
TITLE: Final = "TRX"
# The elements of results and definitions are named after the kind of the test.
KINDS: Final = ("Unit", "Generic", "Manual", "Web", "Load", "Ordered")
_DEFINITIONS: Final = tuple(f"{kind}Test" for kind in KINDS)
_ASSEMBLY: Final = re.compile(r", [^,]+, Version=.*")  # after the class, as in "Shop.Cart, Shop, Version=1.0.0.0"


class DefinitionReader(XmlReader):
    """Collects the class of each test, or the file name of its assembly if the test has no class."""

    def __init__(self, classes: CaseClasses, encoding: str) -> None:
        super().__init__(encoding, ROOTS, TITLE)
        self._classes = classes
        self._class = ""
        self._openers = {**dict.fromkeys(_DEFINITIONS, self._open_test), "TestMethod": self._open_method}
        self._closers = dict.fromkeys(_DEFINITIONS, self._close_test)

    def _open_test(self, _tag: str, attributes: XmlAttributes) -> XmlAttributes:
        self._class = re.split(r"[/\\]", attributes.get("storage", ""))[-1]
        return attributes

    def _open_method(self, _tag: str, attributes: XmlAttributes) -> None:
        self._class = _ASSEMBLY.sub("", attributes.get("className", "")) or self._class

    def _close_test(self, attributes: XmlAttributes) -> None:
        self._classes.add(attributes.get("id", ""), self._class[:MAX_LABEL])
