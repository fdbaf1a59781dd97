"""Reader of the results of Allure 2 and 3: the files of one folder, joined to one report (see report_sets.py)."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
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
from service.reports.readers.allure_order import AllureAttempts, execution_of, is_container, is_globals
from service.reports.readers.allure_texts import failure_in, failure_of, files_of, fixtures_of, has_failed, steps_text
from service.reports.report_sets import Document, read_files
from service.reports.suites import SUITE_LEVEL_NAME
from service.reports.texts_by_test import TextsByTest
from service.reports.times import epoch_ms, valid_milliseconds

_STEPS: Final = "steps.txt"
_YES: Final = "yes"
_MAX_CONTAINERS: Final = 1_000  # of one result


def read(source: BinaryIO, metadata: ReportMetadata) -> Iterator[list[ResultIn]]:
    """Yield the results in lists of bounded size. Raises ReportError if a file isn't a JSON object."""
    yield from in_lists(_AllureReader(metadata).results(read_files(source)))
    metadata.add_notes()


class _AllureReader:
    """Converts the files in the order of `arrange`: the fixtures and the attempts of a test follow each other."""

    def __init__(self, metadata: ReportMetadata) -> None:
        self._metadata = metadata
        self._report = ""  # the name of the current file
        self._attempts = AllureAttempts()
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
        if is_globals(document):
            yield from self._attempts.flush()
            yield from self._errors_of_run(document)
        elif not is_container(document):
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
        yield from self._attempts.add(execution_of(document, case, dict(labels)), result)
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
        status = read_status(word) or cast("ResultStatus", word)
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
        if properties := properties_of(part, case, labels, metadata):
            result["properties"] = properties
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
            duration_ms = valid_milliseconds(stop - start)
            if duration_ms is None:
                self._metadata.unreadable.add(stop - start)
            else:
                result["duration_ms"] = duration_ms
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
                yield self._result_of_fixture(fixture, suite)
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
        """Return whether a test states the failure of a fixture. `messages` are those of its failing attempts.

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


def _files_of_fixtures(containers: Sequence[Document]) -> Iterator[Attachment]:
    for container in containers:
        for fixture in fixtures_of(container):
            yield from files_of(fixture)
