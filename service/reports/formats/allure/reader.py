"""Reader of the results of Allure 2 and 3: the files of one folder, joined to one report (see report_sets.py)."""

import json
import re
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, BinaryIO, Final, NamedTuple, cast

from service.domain.statuses import states_failure
from service.ingest.contract import ResultIn
from service.reports.conversion.attachments import Attachment, references
from service.reports.conversion.attempts import add_attempt, estimate_size, status_of_word
from service.reports.conversion.metadata import ReportMetadata, mark_outside
from service.reports.conversion.names import MAX_LABEL, SUITE_LEVEL_NAME
from service.reports.conversion.output import BoundedText, ReportResult, set_output
from service.reports.conversion.report_sets import Document, read_files
from service.reports.conversion.times import epoch_ms, valid_milliseconds
from service.reports.formats.allure.cases import (
    AllureCase,
    case_of,
    failure_in,
    failure_of,
    files_of,
    fixtures_of,
    framework_of,
    has_failed,
    identifying,
    is_secret,
    labels_of,
    properties_of,
    steps_text,
    text_of_value,
)
from service.reports.streams.chunks import in_lists
from service.reports.streams.json_values import objects_of, text_of, texts_of
from service.reports.streams.kept_values import TextsByTest

_RESULT: Final = 0
_FIXTURES: Final = 1
_GLOBALS: Final = 2
_MAX_CHILDREN: Final = 2_000_000  # of all fixtures. The failures of further ones are no attempts
_MAX_PENDING: Final = 32 * 2**20  # characters of the attempts of one test, estimated
_UNIQUE_NAMES: Final = frozenset({"playwright", "junit-platform"})  # frameworks
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,3}")
_OF_CONTAINERS: Final = frozenset({"children", "befores", "afters"})
_OF_RESULTS: Final = frozenset({"name", "status", "stage", "fullName", "historyId", "testCaseId", "labels"})
_STEPS: Final = "steps.txt"
_YES: Final = "yes"
_MAX_CONTAINERS: Final = 1_000  # of one result


def read(source: BinaryIO, metadata: ReportMetadata) -> Iterator[list[ResultIn]]:
    """Yield the results in lists of bounded size. Raises ReportError if a file isn't a JSON object."""
    return in_lists(_AllureReader(metadata).results(read_files(source)))


class _AllureReader:
    """Converts the files in the order of `arrange`: the fixtures and the attempts of a test follow each other."""

    def __init__(self, metadata: ReportMetadata) -> None:
        self._metadata = metadata
        self._report = ""  # the name of the current file
        self._attempts = _AllureAttempts()
        self._containers: list[Document] = []  # with the fixtures of the next result
        self._suites = TextsByTest()  # of the results by UUID
        self._failing = TextsByTest()  # the messages of the failing attempts by UUID
        self._stated = TextsByTest()  # has a text for each message and each trace of a failing test

    def results(self, files: Iterable[tuple[str, Document]]) -> Iterator[ResultIn]:
        """Yield one result per test, and one per failure that no test states."""
        for self._report, document in files:
            for result in self._read(document):
                self._state(result)
                yield result
        for result in chain(self._attempts.flush(), *map(self._failures_without_test, self._containers)):
            self._state(result)
            yield result
        if count := self._attempts.occurrences:
            repeated = f"results that repeat the historyId and the name of another one, but state no retry: {count}"
            self._metadata.notes.append(f"historyId: {repeated}. They are stored as further occurrences.")

    def _read(self, document: Document) -> Iterator[ResultIn]:
        """Keep the fixtures of the next result, and yield results. All other fixtures follow all tests."""
        if _is_globals(document):
            yield from self._attempts.flush()
            yield from self._errors_of_run(document)
        elif not _is_container(document):
            yield from self._add_result(document)
        elif len(self._containers) < _MAX_CONTAINERS and self._is_of_next(document):
            self._containers.append(document)
        else:
            yield from self._attempts.flush()
            yield from self._failures_without_test(document)

    def _is_of_next(self, container: Document) -> bool:
        return any(self._suites.find(child) is None for child in texts_of(container, "children"))

    def _add_result(self, document: Document) -> Iterator[ResultIn]:
        """Add an attempt with its failed fixtures, unless its own failure shows them. Yield the earlier test."""
        uuid, containers = text_of(document, "uuid") or "", self._containers
        self._containers = []
        own = [container for container in containers if uuid in texts_of(container, "children")]
        labels = labels_of(document)
        case = case_of(document, dict(labels))
        result = self._result(case, document, own, labels)
        self._suites.add(uuid, case.suite)
        yield from self._attempts.add(_execution_of(document, case, dict(labels)), result)
        if states_failure(result["status"]):
            self._failing.add(uuid, failure_of(document).get("message") or "") or self._failing.add(uuid, "")
        else:
            for container in own:
                for fixture in filter(has_failed, fixtures_of(container)):
                    self._attempts.add_fixture(self._result_of_fixture(fixture, case.suite))
        for container in containers:
            if container not in own:
                yield from self._failures_without_test(container)

    def _result(
        self, case: AllureCase, part: Document, containers: Sequence[Document], labels: Sequence[tuple[str, str]]
    ) -> ResultIn:
        """Return the result of a test with its fixtures, or of a fixture."""
        word, metadata = text_of(part, "status"), self._metadata
        status = status_of_word(word)
        result: ResultIn = {"suite": case.suite, "name": case.name, "status": status}
        if case.file:
            result["file"] = metadata.checkout.file_of(case.file)
        if case.variant:
            result["variant"] = dict([case.variant])
        self._add_times(result, part)
        if status != "passed":
            if failure := failure_of(part):
                result["failure"] = failure
            text = BoundedText(steps_text(part, containers))
            set_output(result, metadata.output.add(f"{case.suite} {case.name}", [(_STEPS, text)]))
        if files := [*_files_of_fixtures(containers), *files_of(part)]:
            result["artifacts"] = references(files)
        metadata.add_properties(result, properties_of(part, case, labels))
        metadata.contains_failures |= states_failure(status)
        return self._with_report(result)

    def _with_report(self, result: ResultIn) -> ResultIn:
        if self._report:
            cast("ReportResult", result)["report"] = self._report
        return result

    def _add_times(self, result: ResultIn, part: Document) -> None:
        start, stop = part.get("start"), part.get("stop")
        if started_at := epoch_ms(start):
            result["started_at"] = started_at
        if isinstance(start, int | float) and isinstance(stop, int | float):
            self._metadata.unreadable.set_duration(result, stop - start, valid_milliseconds(stop - start))
        self._metadata.times.add(started_at, result.get("duration_ms"))

    def _failures_without_test(self, container: Document) -> Iterator[ResultIn]:
        """Yield a result for each failed fixture that no failing test states. The run gets the files of the others."""
        fixtures, children = fixtures_of(container), texts_of(container, "children")
        messages = {message for child in children if (message := self._failing.find(child)) is not None}
        suite = next((suite for child in children if (suite := self._suites.find(child)) is not None), "")
        last = {text_of(fixture, "name"): fixture for fixture in fixtures}
        for fixture in fixtures:
            is_repeated = last[text_of(fixture, "name")].get("status") == "passed"
            if has_failed(fixture) and not self._is_stated(fixture, messages, is_repeated=is_repeated):
                yield mark_outside(self._result_of_fixture(fixture, suite), "fixture")
            else:
                self._attach(fixture)

    def _result_of_fixture(self, fixture: Document, suite: str) -> ResultIn:
        return self._result(AllureCase(suite, text_of(fixture, "name") or SUITE_LEVEL_NAME), fixture, (), ())

    def _state(self, result: ResultIn) -> None:
        """Keep the texts of a failing test. Those of earlier attempts don't count: the test can have passed."""
        failure = result.get("failure") if states_failure(result["status"]) else None
        for text in cast("dict[str, str]", failure or {}).values():
            if self._stated.find(text) is None:
                self._stated.add(text, _YES)

    def _is_stated(self, fixture: Document, messages: Collection[str], *, is_repeated: bool) -> bool:
        """Return whether a test states the failure of a fixture. `messages` has the messages of its failing attempts.

        An earlier attempt counts only if the fixture passed in a later execution: pytest-rerunfailures executes the
        fixture of a module again, and allure-pytest writes both executions to one file.
        """
        message = failure_of(fixture).get("message")
        if message is None:
            return False
        return message in messages and (is_repeated or self._stated.find(message) is not None)

    def _errors_of_run(self, document: Document) -> Iterator[ResultIn]:
        """Yield the errors of hooks and of the process that are no failures of a test. They have no suite."""
        for error in objects_of(document, "errors"):
            failure = failure_in(error)
            if not any(self._stated.find(cast("str", text)) for text in failure.values()):
                self._metadata.contains_failures = True
                result: ResultIn = {"suite": "", "name": SUITE_LEVEL_NAME, "status": "error", "failure": failure}
                if started_at := epoch_ms(error.get("timestamp")):
                    result["started_at"] = started_at
                yield self._with_report(result)
        self._attach(document)

    def _attach(self, part: Document) -> None:
        for attachment in files_of(part):
            self._metadata.output.attach(attachment)


class _AllureExecution(NamedTuple):
    """What states whether two executions are attempts of one test.

    `key` identifies the test: its history and its case, or empty if the result has no history. `is_unique` states that
    no other test of a run has this key, and `retry` is the number of the retry, or 0. `place` is the host, for pytest
    with the process: the jobs of a matrix that write into one folder execute different tests with one history.
    """

    key: str = ""
    is_unique: bool = False
    retry: int = 0
    place: str = ""


class _AllureAttempts:
    """Merges the attempts of a test, which follow each other. `occurrences` counts the executions that aren't merged.

    These have the history and the case of another execution, but nothing states that they are attempts of one test.
    """

    def __init__(self) -> None:
        self.occurrences = 0
        self._pending: ResultIn | None = None
        self._last = _AllureExecution()
        self._fixtures: list[ResultIn] = []  # the failed ones of the last attempt
        self._size = 0

    def add(self, execution: _AllureExecution, result: ResultIn) -> Iterator[ResultIn]:
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
        self._size += estimate_size(result)

    def add_fixture(self, result: ResultIn) -> None:
        """Add the failure of a fixture of the last result: it is an attempt of its test if a further one follows."""
        self._fixtures.append(result)
        self._size += estimate_size(result)

    def flush(self) -> Iterator[ResultIn]:
        """Yield the failed fixtures of the last attempt, and the last test."""
        yield from self._fixtures
        if self._pending:
            yield self._pending
        self._pending, self._fixtures = None, []


def _is_next_attempt(earlier: _AllureExecution, later: _AllureExecution) -> bool:
    """Return whether an execution is the attempt of a test behind another one.

    A retry follows the attempt with the number before it: allure-cypress gives all attempts the same number.
    """
    if not later.key or earlier.key != later.key or earlier.place != later.place:
        return False
    return (earlier.is_unique and later.is_unique) or (later.retry > 0 and earlier.retry == later.retry - 1)


def _is_globals(document: Document) -> bool:
    """Return whether a file contains the errors and the attachments of the run."""
    return "uuid" not in document and "name" not in document and ("errors" in document or "attachments" in document)


def _is_container(document: Document) -> bool:
    """Return whether a file describes fixtures. The adapter for pytest omits empty lists."""
    return not _OF_CONTAINERS.isdisjoint(document) or _OF_RESULTS.isdisjoint(document)


def _execution_of(document: Document, case: AllureCase, labels: Mapping[str, str]) -> _AllureExecution:
    """Return what relates a result to other executions of its test."""
    history = text_of(document, "historyId")
    if not history and (test_case_id := text_of(document, "testCaseId")):
        history = json.dumps([test_case_id, sorted(map(list, identifying(document)))])
    if not history:
        return _AllureExecution()
    key = json.dumps([history, case.suite, case.name[:MAX_LABEL], case.variant])
    process = labels.get("thread", "").partition("-")[0] if framework_of(labels) == "pytest" else ""
    place = f"{labels.get('host', '')} {process}"
    return _AllureExecution(key, _is_unique(document, labels), _retry_of(document), place)


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


def _files_of_fixtures(containers: Sequence[Document]) -> Iterator[Attachment]:
    for container in containers:
        for fixture in fixtures_of(container):
            yield from files_of(fixture)


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


class _Place(NamedTuple):
    """What the place of a file depends on.

    `uuid` is the hash of the UUID of a result, and `children` are the hashes of the results to which fixtures belong: a
    text would need ten times as much memory, and the fixtures of a session list all tests. `secret_key` is the key of a
    test with secret parameters. Such tests can have equal names.
    """

    kind: int
    start: float
    stop: float
    key: str = ""
    execution: _AllureExecution = _AllureExecution()
    uuid: int = 0
    children: Sequence[int] = ()
    secret_key: str = ""


def _place_of(document: Document, max_children: int) -> _Place:
    start, stop = (_number(document.get(key)) for key in ("start", "stop"))
    if _is_globals(document):
        first = next(iter(objects_of(document, "errors")), {})
        return _Place(_GLOBALS, _number(first.get("timestamp")), stop)
    if _is_container(document):
        children = array("q", map(hash, texts_of(document, "children")))
        return _Place(_FIXTURES, start, stop, children=children if len(children) <= max(max_children, 1) else ())
    labels = dict(labels_of(document))
    execution = _execution_of(document, case_of(document, labels), labels)
    uuid = hash(text_of(document, "uuid") or "")
    secret_key = execution.key if any(map(is_secret, objects_of(document, "parameters"))) else ""
    return _Place(_RESULT, start, stop, execution.key, execution, uuid, secret_key=secret_key)


def _number(value: Any) -> float:
    return value if isinstance(value, int | float) else 0
