"""The order of the files of Allure, whose names are random: the attempts of a test follow each other."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple, cast

from service.contracts.run_events import ResultIn
from service.reports.attempts import add_attempt
from service.reports.json_values import objects_of, text_of, texts_of, written_text
from service.reports.report_sets import Document

_RESULT: Final = 0
_FIXTURES: Final = 1
_GLOBALS: Final = 2
MASKED: Final = "******"  # instead of a secret value
_SECRET: Final = ("masked", "hidden")
_MAX_PENDING: Final = 32 * 2**20  # characters of the attempts of one test, estimated
_OF_CONTAINERS: Final = frozenset({"children", "befores", "afters"})
_OF_RESULTS: Final = frozenset({"name", "status", "stage", "fullName", "historyId", "testCaseId", "labels"})

# Files that contain no results: attachments, and those that the report generator of Allure reads.
_ATTACHMENT: Final = re.compile(r"[0-9a-f-]{32,36}-attachment(?:\.[\w.]+)?")
_OTHER_FILE: Final = re.compile(
    _ATTACHMENT.pattern + r"|(?:categories|executor|history|[a-z]+-trend)\.json|environment\.(?:properties|xml|json)"
)


class _Place(NamedTuple):
    """What the place of a file depends on. `uuid` and `only_child` are those of a result and of its fixtures.

    `secret_key` is the key of a test with secret parameters. Such tests can have equal names.
    """

    kind: int
    start: float
    stop: float
    key: str = ""
    uuid: str = ""
    only_child: str = ""
    secret_key: str = ""


def is_container(document: Document) -> bool:
    """Return whether a file describes fixtures. The adapter for pytest omits empty lists."""
    return not _OF_CONTAINERS.isdisjoint(document) or _OF_RESULTS.isdisjoint(document)


def is_globals(document: Document) -> bool:
    """Return whether a file contains the errors and the attachments of the run."""
    return "uuid" not in document and "name" not in document and ("errors" in document or "attachments" in document)


def is_of_folder(name: str) -> bool:
    """Return whether a file has the name of a file of the folder that contains no results."""
    return _OTHER_FILE.fullmatch(_base_name(name)) is not None


def is_attachment(name: str) -> bool:
    """Return whether a file has the name of an attachment, whose content can look like a report."""
    return _ATTACHMENT.fullmatch(_base_name(name)) is not None


def history_key(document: Document) -> str:
    """Return what the attempts of one test have in common, or an empty text: Allure detects retries by `historyId`."""
    if history_id := text_of(document, "historyId"):
        return history_id
    if not (test_case_id := text_of(document, "testCaseId")):
        return ""
    return json.dumps([test_case_id, sorted(map(list, identifying(document)))])


def identifying(document: Document) -> list[tuple[str, str]]:
    """Return the names and values of the parameters that identify a test, as in its `historyId`."""
    return sorted(
        (text_of(parameter, "name") or "", text_of_value(parameter))
        for parameter in objects_of(document, "parameters")
        if parameter.get("excluded") is not True
    )


def is_secret(parameter: Document) -> bool:
    """Return whether the value of a parameter is secret."""
    return parameter.get("mode") in _SECRET


def text_of_value(parameter: Document) -> str:
    """Return the value of a parameter, which is a text in the files of all known adapters."""
    return written_text(parameter.get("value"))


def arrange(documents: Iterable[Document]) -> list[int]:
    """Return the numbers of the documents in the order in which the reader needs them.

    Tests are in the order of their first attempts, and the attempts of a test in the order of their starts. Tests with
    secret parameters follow in the order of their keys, so that equal names always have the same order. Fixtures of a
    single result are in front of it. Other fixtures are behind all results, and the errors of the run at the end.
    """
    places = list(map(_place_of, documents))
    numbers = sorted(range(len(places)), key=lambda number: places[number][:4])
    positions: dict[str, tuple[int, int]] = {}  # of the results by UUID: the test, and the attempt
    tests: dict[str, int] = {}
    results = [number for number in numbers if places[number].kind == _RESULT]
    for number in sorted(results, key=lambda number: places[number].secret_key):
        place = places[number]
        positions[place.uuid or f" {number}"] = tests.setdefault(place.key or f" {number}", len(tests)), number
    order = {number: index for index, number in enumerate(numbers)}

    def rank(number: int) -> tuple[int, int, int, int]:
        place = places[number]
        uuid = (place.uuid or f" {number}") if place.kind == _RESULT else place.only_child
        if place.kind == _GLOBALS or uuid not in positions:
            return max(place.kind, _FIXTURES), 0, 0, order[number]
        test, attempt = positions[uuid]
        return 0, test, order[attempt], -1 if place.kind == _FIXTURES else 0

    return sorted(numbers, key=rank)


def _place_of(document: Document) -> _Place:
    start, stop = (_number(document.get(key)) for key in ("start", "stop"))
    if is_globals(document):
        first = next(iter(objects_of(document, "errors")), {})
        return _Place(_GLOBALS, _number(first.get("timestamp")), stop)
    if is_container(document):
        children = texts_of(document, "children")
        return _Place(_FIXTURES, start, stop, only_child=children[0] if len(children) == 1 else "")
    key, has_secret = history_key(document), any(map(is_secret, objects_of(document, "parameters")))
    return _Place(
        _RESULT, start, stop, key, text_of(document, "uuid") or "", secret_key=key if has_secret else ""
    )  # fmt: skip


def _base_name(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]


def _number(value: Any) -> float:
    return value if isinstance(value, int | float) else 0


class AllureAttempts:
    """Merges the attempts of a test, which follow each other."""

    def __init__(self) -> None:
        self._pending: ResultIn | None = None
        self._key = ""
        self._size = 0

    def add(self, key: str | None, result: ResultIn) -> Iterator[ResultIn]:
        """Add a result, and yield the earlier test. Results with the same key are attempts of one test.

        An empty key is that of no other result. A result whose key is None is between the attempts of a test.
        """
        if key is None:
            yield result
            return
        if self._pending and key and key == self._key and self._size <= _MAX_PENDING:
            self._pending = add_attempt(self._pending, result)
        else:
            yield from self.flush()
            self._pending, self._key, self._size = result, key, 0
        self._size += 500 + sum(map(len, cast("dict[str, str]", result.get("failure") or {}).values()))

    def flush(self) -> Iterator[ResultIn]:
        """Yield the last test."""
        if self._pending:
            yield self._pending
        self._pending = None
