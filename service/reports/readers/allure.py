"""Reader of the results of Allure 2 and 3: the files of one folder, joined to one report (see report_sets.py)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, Final, cast

from service.contracts.run_events import ResultIn
from service.domain.statuses import ResultStatus, read_status, states_failure
from service.reports.attachments import Attachment, references
from service.reports.bounded_text import BoundedText
from service.reports.chunks import in_lists
from service.reports.json_values import objects_of, text_of, texts_of
from service.reports.metadata import ReportMetadata
from service.reports.output import ReportResult, set_output
from service.reports.readers.allure_cases import AllureCase, case_of, labels_of, properties_of
from service.reports.readers.allure_order import AllureAttempts, history_key, is_container, is_globals
from service.reports.readers.allure_texts import failure_in, failure_of, files_of, fixtures_of, has_failed, steps_text
from service.reports.report_sets import Document, read_files
from service.reports.suites import SUITE_LEVEL_NAME
from service.reports.texts_by_test import TextsByTest
from service.reports.times import epoch_ms, valid_milliseconds

_STEPS: Final = "steps.txt"
_YES: Final = "yes"
_MAX_CONTAINERS: Final = 1_000  # of one result

KeyedResult = tuple[str | None, ResultIn]  # see AllureAttempts.add


def read(source: BinaryIO, metadata: ReportMetadata) -> Iterator[list[ResultIn]]:
    """Yield the results in lists of bounded size. Raises ReportError if a file isn't a JSON object."""
    yield from in_lists(_AllureReader(metadata).results(read_files(source)))
    metadata.add_notes()


class _AllureReader:
    """Converts the files in the order of `arrange`: the fixtures and the attempts of a test follow each other."""

    def __init__(self, metadata: ReportMetadata) -> None:
        self._metadata = metadata
        self._containers: list[Document] = []  # with the fixtures of the next result
        self._suites = TextsByTest()  # of the results by UUID
        self._failing = TextsByTest()  # has a text for the UUID of each failing result
        self._stated = TextsByTest()  # has a text for each message and each trace of a failing result

    def results(self, files: Iterable[tuple[str, Document]]) -> Iterator[ResultIn]:
        """Yield one result per test, and one per failure that no test states."""
        attempts = AllureAttempts()
        for name, document in files:
            for key, result in self._read(document):
                if name:
                    cast("ReportResult", result)["report"] = name
                yield from attempts.add(key, result)
        yield from attempts.flush()
        for container in self._containers:
            yield from (result for _, result in self._failures_without_test(container))

    def _read(self, document: Document) -> Iterator[KeyedResult]:
        if is_globals(document):
            return self._errors_of_run(document)
        return self._add_container(document) if is_container(document) else self._add_result(document)

    def _add_container(self, container: Document) -> Iterator[KeyedResult]:
        """Keep the fixtures of the next result. All other fixtures follow the results."""
        children = texts_of(container, "children")
        is_of_next = len(children) == 1 and self._suites.find(children[0]) is None
        if is_of_next and len(self._containers) < _MAX_CONTAINERS:
            self._containers.append(container)
        else:
            yield from self._failures_without_test(container)

    def _add_result(self, document: Document) -> Iterator[KeyedResult]:
        """Yield the result, and the failures of fixtures that aren't failures of the result."""
        uuid, containers = text_of(document, "uuid") or "", self._containers
        self._containers = []
        own = [container for container in containers if uuid in texts_of(container, "children")]
        labels = labels_of(document)
        case = case_of(document, dict(labels))
        result = self._result(case, document, own, labels)
        self._suites.add(uuid, case.suite)
        if states_failure(result["status"]):
            self._failing.add(uuid, _YES)
            self._state(result)
        yield history_key(document), result
        for container in containers:
            yield from self._failures_without_test(container, is_of_result=container in own)

    def _result(
        self, case: AllureCase, part: Document, containers: Sequence[Document], labels: Sequence[tuple[str, str]]
    ) -> ResultIn:
        """Return the result of a test with its fixtures, or of a fixture."""
        word, metadata = text_of(part, "status"), self._metadata
        status = read_status(word) or cast("ResultStatus", word)
        result: ResultIn = {"suite": case.suite, "name": case.name, "status": status}
        if case.file:
            result["file"] = case.file
        if case.project:
            result["variant"] = {"project": case.project}
        self._add_times(result, part)
        if status != "passed":
            if failure := failure_of(part):
                result["failure"] = failure
            text = BoundedText(steps_text(part, containers))
            set_output(result, metadata.output.add(f"{case.suite} {case.name}", [(_STEPS, text)]))
        if files := [*_files_of_fixtures(containers), *files_of(part)]:
            result["artifacts"] = references(files)
        if properties := properties_of(part, case, labels, metadata):
            result["properties"] = properties
        metadata.contains_failures |= states_failure(status)
        return result

    def _add_times(self, result: ResultIn, part: Document) -> None:
        start, stop = part.get("start"), part.get("stop")
        if started_at := epoch_ms(start):
            result["started_at"] = started_at
        if isinstance(start, int | float) and isinstance(stop, int | float):
            duration_ms = valid_milliseconds(stop - start)
            if duration_ms is None:
                self._metadata.unreadable.add(stop - start)
            else:
                result["duration_ms"] = duration_ms
        self._metadata.times.add(started_at, result.get("duration_ms"))

    def _failures_without_test(self, container: Document, *, is_of_result: bool = False) -> Iterator[KeyedResult]:
        """Yield a result for each failed fixture that no failing test states. The run gets the files of the others."""
        for fixture in fixtures_of(container):
            if has_failed(fixture) and not self._is_stated(fixture, container, is_of_result=is_of_result):
                suites = map(self._suites.find, texts_of(container, "children"))
                suite = next((suite for suite in suites if suite is not None), "")
                name = text_of(fixture, "name") or SUITE_LEVEL_NAME
                result = self._result(AllureCase(suite, name), fixture, (), ())
                self._state(result)
                yield None if is_of_result else "", result
            elif not is_of_result:
                self._attach(fixture)

    def _state(self, result: ResultIn) -> None:
        for text in cast("dict[str, str]", result.get("failure") or {}).values():
            if self._stated.find(text) is None:
                self._stated.add(text, _YES)

    def _is_stated(self, fixture: Document, container: Document, *, is_of_result: bool) -> bool:
        """Return whether a failing test shows the failure in its steps, or has the message of the fixture."""
        if not any(self._failing.find(child) for child in texts_of(container, "children")):
            return False
        message = failure_of(fixture).get("message")
        return is_of_result or message is None or self._stated.find(message) is not None

    def _errors_of_run(self, document: Document) -> Iterator[KeyedResult]:
        """Yield the errors of hooks and of the process that are no failures of a test. They have no suite."""
        for error in objects_of(document, "errors"):
            failure = failure_in(error)
            if not any(self._stated.find(cast("str", text)) for text in failure.values()):
                self._metadata.contains_failures = True
                result: ResultIn = {"suite": "", "name": SUITE_LEVEL_NAME, "status": "error", "failure": failure}
                if started_at := epoch_ms(error.get("timestamp")):
                    result["started_at"] = started_at
                yield "", result
        self._attach(document)

    def _attach(self, part: Document) -> None:
        for attachment in files_of(part):
            self._metadata.output.attach(attachment)


def _files_of_fixtures(containers: Sequence[Document]) -> Iterator[Attachment]:
    for container in containers:
        for fixture in fixtures_of(container):
            yield from files_of(fixture)
