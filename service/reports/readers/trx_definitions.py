"""Reader of the definitions of a TRX file: the class and the properties of each test."""

import re
from typing import Final

import orjson

from service.domain.properties import PropertyCollector
from service.reports.bounded_text import BoundedText
from service.reports.errors import malformed
from service.reports.metadata import ReportMetadata
from service.reports.suites import MAX_LABEL
from service.reports.texts_by_test import TextsByTest
from service.reports.xml_reader import XmlAttributes, XmlReader

ROOTS: Final = frozenset({"TestRun"})
TITLE: Final = "TRX"
# The elements of results and definitions are named after the kind of the test.
KINDS: Final = ("Unit", "Generic", "Manual", "Web", "Load", "Ordered")
_DEFINITIONS: Final = tuple(f"{kind}Test" for kind in KINDS)
_ASSEMBLY: Final = re.compile(r", [^,]+, Version=.*")  # after the class, as in "Shop.Cart, Shop, Version=1.0.0.0"
_CATEGORY: Final = "TestCategory"


class Definitions:
    """The class of each test, and its properties as a JSON object."""

    def __init__(self) -> None:
        self._classes = TextsByTest()
        self._properties = TextsByTest()

    def add(self, test_id: str, class_name: str, properties: dict[str, str]) -> bool:
        """Add a test, and return False if the properties of all tests together are too large.

        Raises ReportError if the names of all classes together are too large.
        """
        if not self._classes.add(test_id, class_name):
            raise malformed("the names of all classes together are too large")
        return not properties or self._properties.add(test_id, orjson.dumps(properties).decode())

    def class_of(self, test_id: str) -> str:
        """Return the class of a test, or "" if it is unknown."""
        return self._classes.find(test_id) or ""

    def properties_of(self, test_id: str) -> dict[str, str]:
        """Return the properties of a test."""
        properties: dict[str, str] = orjson.loads(self._properties.find(test_id) or "{}")
        return properties


class DefinitionReader(XmlReader):
    """Collects the class of each test, or the file name of its assembly if the test has no class, and its properties.

    The categories of a test are the property `TestCategory`.
    """

    def __init__(self, definitions: Definitions, metadata: ReportMetadata, encoding: str) -> None:
        super().__init__(encoding, ROOTS, TITLE)
        self._definitions = definitions
        self._metadata = metadata
        self._class = ""
        self._pairs: PropertyCollector | None = None  # of the open test
        self._key = ""
        self._openers = {
            **dict.fromkeys(_DEFINITIONS, self._open_test),
            "TestMethod": self._open_method,
            "TestCategoryItem": self._open_category,
            **dict.fromkeys(("Key", "Value"), self._open_text),
        }
        self._closers = {
            **dict.fromkeys(_DEFINITIONS, self._close_test),
            "Key": self._close_key,
            "Value": self._close_value,
        }

    def _open_test(self, _tag: str, attributes: XmlAttributes) -> XmlAttributes:
        self._class = re.split(r"[/\\]", attributes.get("storage", ""))[-1]
        self._pairs = PropertyCollector()
        return attributes

    def _open_method(self, _tag: str, attributes: XmlAttributes) -> None:
        self._class = _ASSEMBLY.sub("", attributes.get("className", "")) or self._class

    def _open_category(self, _tag: str, attributes: XmlAttributes) -> None:
        self._add_property(_CATEGORY, attributes.get(_CATEGORY, ""))

    def _open_text(self, _tag: str, _attributes: XmlAttributes) -> BoundedText | None:
        if self._pairs is None:
            return None
        text = BoundedText()
        self._push_text_handler(text.add)
        return text

    def _close_key(self, text: BoundedText) -> None:
        self._pop_text_handler()
        self._key = text.details().strip()

    def _close_value(self, text: BoundedText) -> None:
        self._pop_text_handler()
        self._add_property(self._key, text.details().strip())
        self._key = ""

    def _add_property(self, name: str, value: str) -> None:
        if self._pairs is not None and name:
            self._metadata.dropped_properties += not self._pairs.add(name, value)

    def _close_test(self, attributes: XmlAttributes) -> None:
        pairs = self._pairs.pairs if self._pairs else {}
        is_added = self._definitions.add(attributes.get("id", ""), self._class[:MAX_LABEL], pairs)
        self._metadata.dropped_properties += 0 if is_added else len(pairs)
        self._pairs = None
