"""Reader of the failed suite teardowns of a Robot Framework output.

Robot writes a test before the teardown of its suite. Its own statistics and reports state that all tests of the suite
failed. Rebot writes these statuses and messages to the tests, so only an output of Robot itself is searched.
"""

from functools import partial
from typing import BinaryIO, Final

from service.reports.bounded_text import BoundedText
from service.reports.errors import malformed
from service.reports.metadata import ReportMetadata
from service.reports.readers.robot_keywords import FAILED
from service.reports.texts_by_test import TextsByTest
from service.reports.xml_reader import XmlAttributes, XmlReader, read_xml

ROOTS: Final = frozenset({"robot"})
TITLE: Final = "Robot output.xml"
_ROBOT: Final = "Robot"  # the generator; the other one is `Rebot`
# In the message of each suite whose teardown failed. The second one follows a failed setup.
_STATED: Final = (b"Suite teardown failed:", b"suite teardown failed:")
MAX_TEARDOWN: Final = 1_000  # characters; Robot shortens messages to 40 lines
_CHUNK: Final = 2**20


def read_teardowns(source: BinaryIO, metadata: ReportMetadata) -> TextsByTest:
    """Return the message of each failed suite teardown by the number of its suite, and leave the file at its start.

    All elements `suite` are numbered from 1 in their order. Most outputs have no such suite, and aren't parsed.
    """
    teardowns = TextsByTest()
    found = _states_teardown(source)
    source.seek(0)
    if found:
        for _ in read_xml(source, partial(_TeardownReader, teardowns), metadata):
            pass  # teardowns aren't results
        source.seek(0)
    return teardowns


def _states_teardown(source: BinaryIO) -> bool:
    end = b""
    while chunk := source.read(_CHUNK):
        text = end + chunk
        if any(stated in text for stated in _STATED):
            return True
        end = chunk[-len(_STATED[0]) :]
    return False


class _Teardown:
    """The open teardown of a suite."""

    __slots__ = ("message", "suite")

    def __init__(self, suite: int) -> None:
        self.suite = suite
        self.message = BoundedText()


class _TeardownReader(XmlReader):
    """Collects the messages of failed suite teardowns. The value of an open suite is its number, and 0 of the root."""

    def __init__(self, teardowns: TextsByTest, encoding: str) -> None:
        super().__init__(encoding, ROOTS, TITLE)
        self._teardowns = teardowns
        self._suites = 0
        self._openers = {
            "robot": _open_root,
            "suite": self._open_suite,
            "kw": self._open_keyword,
            "status": self._open_status,
        }
        self._closers = {"status": self._close_status}

    def _open_suite(self, _tag: str, _attributes: XmlAttributes) -> int | None:
        self._suites += 1
        return self._suites if isinstance(self._open[-1], int) else None

    def _open_keyword(self, _tag: str, attributes: XmlAttributes) -> _Teardown | None:
        parent = self._open[-1]
        is_teardown = attributes.get("type", "").upper() == "TEARDOWN"
        return _Teardown(parent) if isinstance(parent, int) and is_teardown else None

    def _open_status(self, _tag: str, attributes: XmlAttributes) -> _Teardown | None:
        teardown = self._open[-1]
        if not isinstance(teardown, _Teardown) or attributes.get("status") != FAILED:
            return None
        self._push_text_handler(teardown.message.add)
        return teardown

    def _close_status(self, teardown: _Teardown) -> None:
        self._pop_text_handler()
        if not self._teardowns.add(str(teardown.suite), teardown.message.details()[:MAX_TEARDOWN]):
            raise malformed("the messages of all suite teardowns together are too large")


def _open_root(_tag: str, attributes: XmlAttributes) -> int | None:
    return 0 if attributes.get("generator", "").startswith(_ROBOT) else None
