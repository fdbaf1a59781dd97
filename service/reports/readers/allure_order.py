"""The order of the files of Allure, whose names are random: the attempts of a test follow each other."""

import json
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from service.contracts.run_events import ResultIn
from service.reports.attempts import add_attempt
from service.reports.json_values import objects_of, text_of, texts_of
from service.reports.readers.allure_cases import (
    AllureCase,
    case_of,
    framework_of,
    identifying,
    is_secret,
    labels_of,
    text_of_value,
)
from service.reports.report_sets import Document
from service.reports.suites import MAX_LABEL

_RESULT: Final = 0
_FIXTURES: Final = 1
_GLOBALS: Final = 2
_MAX_CHILDREN: Final = 2_000_000  # of all fixtures. The failures of further ones are no attempts
_MAX_PENDING: Final = 32 * 2**20  # characters of the attempts of one test, estimated
_UNIQUE_NAMES: Final = frozenset({"playwright", "junit-platform"})  # frameworks
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,3}")
_OF_CONTAINERS: Final = frozenset({"children", "befores", "afters"})
_OF_RESULTS: Final = frozenset({"name", "status", "stage", "fullName", "historyId", "testCaseId", "labels"})


class AllureExecution(NamedTuple):
    """What states whether two executions are attempts of one test.

    `key` is that of the test: its history and its case, or empty if the result has no history. `is_unique` states that
    no other test of a run has this key, and `retry` is the number of the retry, or 0. `place` is the host, for pytest
    with the process: the jobs of a matrix that write into one folder execute different tests with one history.
    """

    key: str = ""
    is_unique: bool = False
    retry: int = 0
    place: str = ""


class _Place(NamedTuple):
    """What the place of a file depends on.

    `uuid` is the hash of the UUID of a result, and `children` are those of the results of fixtures: a text would need
    ten times as much memory. The fixtures of a session list all tests.
    `secret_key` is the key of a test with secret parameters. Such tests can have equal names.
    """

    kind: int
    start: float
    stop: float
    key: str = ""
    execution: AllureExecution = AllureExecution()
    uuid: int = 0
    children: Sequence[int] = ()
    secret_key: str = ""


def is_container(document: Document) -> bool:
    """Return whether a file describes fixtures. The adapter for pytest omits empty lists."""
    return not _OF_CONTAINERS.isdisjoint(document) or _OF_RESULTS.isdisjoint(document)


def is_globals(document: Document) -> bool:
    """Return whether a file contains the errors and the attachments of the run."""
    return "uuid" not in document and "name" not in document and ("errors" in document or "attachments" in document)


def execution_of(document: Document, case: AllureCase, labels: Mapping[str, str]) -> AllureExecution:
    """Return what relates a result to other executions of its test."""
    history = text_of(document, "historyId")
    if not history and (test_case_id := text_of(document, "testCaseId")):
        history = json.dumps([test_case_id, sorted(map(list, identifying(document)))])
    if not history:
        return AllureExecution()
    key = json.dumps([history, case.suite, case.name[:MAX_LABEL], case.variant])
    process = labels.get("thread", "").partition("-")[0] if framework_of(labels) == "pytest" else ""
    place = f"{labels.get('host', '')} {process}"
    return AllureExecution(key, _is_unique(document, labels), _retry_of(document), place)


def _is_unique(document: Document, labels: Mapping[str, str]) -> bool:
    """Return whether the test framework permits the history and the name of a result only once in a run.

    In other frameworks, such as Robot Framework, two tests of a suite can have the same name.
    """
    framework, parameters = framework_of(labels), objects_of(document, "parameters")
    name, full_name = text_of(document, "name") or "", text_of(document, "fullName") or ""
    if framework == "pytest":  # two tests of `parametrize("x", [1, 1])` can have the same title, but not the same ID
        function = full_name.rpartition("#")[2]
        return not parameters or name == function or name.startswith(f"{function}[")
    return framework in _UNIQUE_NAMES or (framework == "junit4" and "[" not in full_name)


def _retry_of(document: Document) -> int:
    retries = (each for each in objects_of(document, "parameters") if each.get("excluded") is True)
    number = next((text_of_value(each) for each in retries if text_of(each, "name") == "Retry"), "")
    return int(number) if _NUMBER.fullmatch(number) else 0


def _is_next_attempt(earlier: AllureExecution, later: AllureExecution) -> bool:
    """Return whether an execution is the attempt of a test behind another one.

    A retry follows the attempt with the number before it: allure-cypress gives all attempts the same number.
    """
    if not later.key or earlier.key != later.key or earlier.place != later.place:
        return False
    return (earlier.is_unique and later.is_unique) or (later.retry > 0 and earlier.retry == later.retry - 1)


def arrange(documents: Iterable[Document]) -> list[int]:
    """Return the numbers of the documents in the order in which the reader needs them.

    Tests are in the order of their first attempts, and the attempts of a test in the order of their starts. Tests with
    secret parameters follow in the order of their keys, so that equal names always have the same order. Fixtures of a
    single result, and those whose results all have later attempts, are in front of their last result. Other fixtures
    are behind all results, and the errors of the run at the end.
    """
    places: list[_Place] = []
    max_children = _MAX_CHILDREN
    for document in documents:
        places.append(_place_of(document, max_children))
        max_children -= len(places[-1].children)
    numbers = sorted(range(len(places)), key=lambda number: places[number][:4])
    order = {number: index for index, number in enumerate(numbers)}
    positions: dict[int, tuple[int, int]] = {}  # of the results by UUID: the test, and the attempt
    tests: dict[str, int] = {}
    last: dict[int, int] = {}  # the numbers of the last attempts of the tests
    repeated: set[int] = set()  # the attempts with a later attempt
    results = [number for number in numbers if places[number].kind == _RESULT]
    for number in sorted(results, key=lambda number: places[number].secret_key):
        place = places[number]
        test = tests.setdefault(place.key or f" {number}", len(tests))
        if test in last and _is_next_attempt(places[last[test]].execution, place.execution):
            repeated.add(order[last[test]])
        last[test] = number
        positions[place.uuid or number] = test, order[number]

    def rank(number: int) -> tuple[int, int, int, int]:
        place = places[number]
        if place.kind == _RESULT:
            return 0, *positions[place.uuid or number], 0
        known = [positions[uuid] for uuid in place.children if uuid in positions]
        if known and (len(place.children) == 1 or all(attempt in repeated for _, attempt in known)):
            return 0, *max(known), -1
        return place.kind, 0, 0, order[number]

    return sorted(numbers, key=rank)


def _place_of(document: Document, max_children: int) -> _Place:
    start, stop = (_number(document.get(key)) for key in ("start", "stop"))
    if is_globals(document):
        first = next(iter(objects_of(document, "errors")), {})
        return _Place(_GLOBALS, _number(first.get("timestamp")), stop)
    if is_container(document):
        children = array("q", map(hash, texts_of(document, "children")))
        return _Place(_FIXTURES, start, stop, children=children if len(children) <= max(max_children, 1) else ())
    labels = dict(labels_of(document))
    execution = execution_of(document, case_of(document, labels), labels)
    uuid = hash(text_of(document, "uuid") or "")
    secret_key = execution.key if any(map(is_secret, objects_of(document, "parameters"))) else ""
    return _Place(_RESULT, start, stop, execution.key, execution, uuid, secret_key=secret_key)


def _number(value: Any) -> float:
    return value if isinstance(value, int | float) else 0


class AllureAttempts:
    """Merges the attempts of a test, which follow each other. `occurrences` counts the executions that aren't merged.

    These have the history and the case of another execution, but nothing states that they are attempts of one test.
    """

    def __init__(self) -> None:
        self.occurrences = 0
        self._pending: ResultIn | None = None
        self._last = AllureExecution()
        self._fixtures: list[ResultIn] = []  # the failed ones of the last attempt
        self._size = 0

    def add(self, execution: AllureExecution, result: ResultIn) -> Iterator[ResultIn]:
        """Add a result, and yield the earlier test unless the result is a further attempt of it."""
        if self._pending and _is_next_attempt(self._last, execution) and self._size <= _MAX_PENDING:
            for attempt in (*self._fixtures, result):
                self._pending = add_attempt(self._pending, attempt)
            self._fixtures = []
        else:
            self.occurrences += bool(execution.key) and execution.key == self._last.key
            yield from self.flush()
            self._pending, self._size = result, 0
        self._last = execution
        self._size += _size_of(result)

    def add_fixture(self, result: ResultIn) -> None:
        """Add the failure of a fixture of the last result: it is an attempt of its test if a further one follows."""
        self._fixtures.append(result)
        self._size += _size_of(result)

    def flush(self) -> Iterator[ResultIn]:
        """Yield the failed fixtures of the last attempt, and the last test."""
        yield from self._fixtures
        if self._pending:
            yield self._pending
        self._pending, self._fixtures = None, []


def _size_of(result: ResultIn) -> int:
    return 500 + sum(map(len, cast("dict[str, str]", result.get("failure") or {}).values()))
