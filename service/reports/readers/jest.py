"""Streaming reader of the JSON report of Jest (`jest --json`), which Vitest imitates (`--reporter=json`)."""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Final

from service.contracts.run_events import ResultIn
from service.domain.statuses import NOT_FAILED, states_failure
from service.reports.chunks import in_lists
from service.reports.errors import malformed
from service.reports.json_stream import JsonStream
from service.reports.json_values import count_of
from service.reports.metadata import ReportMetadata
from service.reports.other_formats import unsupported_keys
from service.reports.readers.jest_files import FailedSuites, JestFile, failure_of_file, is_error_of_file
from service.reports.readers.jest_tests import result_of, titles_of
from service.reports.spooled_values import SpooledValues
from service.reports.suites import SUITE_LEVEL_NAME
from service.reports.times import epoch_ms

_OF_JEST: Final = "numRuntimeErrorTestSuites"  # a count that Vitest doesn't write
_FAILED_SUITES: Final = "numFailedTestSuites"
_DECLARED: Final = {
    "numTotalTests": "tests",
    "numFailedTests": "failures",
    _OF_JEST: "errors",
    "numPendingTests": "skipped",
    "numTodoTests": "skipped",
}
_OF_FILE: Final = ("name", "status", "message", "startTime", "endTime")
_NO_TESTS: Final = "testResults.assertionResults: must be a list"
_INTERNAL: Final = "testFilePath"  # a key that a file has in the internal results of Jest
_MAX_SIZE: Final = 2**20  # characters of tests in memory until the name of their file is known


def read(source: BinaryIO, metadata: ReportMetadata) -> Iterator[list[ResultIn]]:
    """Yield the results in lists of bounded size. Raises ReportError if the file isn't valid JSON."""
    yield from in_lists(_JestReader(metadata).results(JsonStream(source)))
    metadata.add_notes()


class _JestReader:
    """Converts one report. The name of a file follows its tests."""

    def __init__(self, metadata: ReportMetadata) -> None:
        self._metadata = metadata
        self._is_vitest = True  # until a count shows the opposite
        self._failed_suites = FailedSuites()
        self._unexplained = 0  # failed files without a failed test and without a message
        self._declared_suites = 0

    def results(self, stream: JsonStream) -> Iterator[ResultIn]:
        """Yield the results of all files."""
        found = False
        for key in stream.members():
            if key == "testResults" and stream.peek() == "[":
                found = True
                for _ in stream.elements():
                    yield from self._file(stream)
            elif stream.peek() in ("{", "["):
                stream.skip()  # such as the coverage
            else:
                self._add_value(key, stream.value())
        if not found:
            raise malformed("testResults: must be a list")
        stream.expect_end()
        self._compare_failed_suites()

    def _add_value(self, key: str, value: Any) -> None:
        metadata = self._metadata
        self._is_vitest &= key != _OF_JEST
        count = count_of({key: value}, key)
        if key in _DECLARED and count is not None:
            metadata.declare(_DECLARED[key], count)
        elif key == _FAILED_SUITES and count is not None:
            self._declared_suites = count
        elif key == "startTime":
            metadata.times.add(epoch_ms(value))
        elif key == "success":
            metadata.declares_failures |= value is False
        elif key == "wasInterrupted" and value is True:
            metadata.declares_failures = True
            metadata.notes.append("wasInterrupted: the run was interrupted, so that tests can be missing")

    def _file(self, stream: JsonStream) -> Iterator[ResultIn]:
        """Yield the results of the file that is the next value in the stream."""
        if stream.peek() != "{":
            raise malformed("testResults: must be a list of objects")
        fields: dict[str, Any] = {}
        with SpooledValues() as tests:
            found = is_internal = False
            for key in stream.members():
                if key == "assertionResults" and stream.peek() == "[":
                    found = True
                    _add_tests(stream, tests)
                elif key in _OF_FILE:
                    fields[key] = stream.value()
                else:
                    is_internal |= key == _INTERNAL
                    stream.skip()
            if not found:
                raise unsupported_keys({_INTERNAL}) if is_internal else malformed(_NO_TESTS)
            yield from self._results_of_file(fields, tests)

    def _results_of_file(self, fields: Mapping[str, Any], tests: SpooledValues) -> Iterator[ResultIn]:
        metadata = self._metadata
        file = JestFile(fields, metadata.checkout, is_vitest=self._is_vitest)
        metadata.times.add(*file.times)
        has_failed = is_listed = False
        for test in tests:
            if is_error_of_file(test):
                is_listed = True
                continue
            result = result_of(test, file, metadata)
            failed = isinstance(test, dict) and result["status"] not in NOT_FAILED and states_failure(result["status"])
            has_failed |= failed
            if self._declared_suites and isinstance(test, dict):
                self._failed_suites.add(titles_of(test), failed=failed)
            yield result
        failure = failure_of_file(fields, file, has_failed=has_failed, is_listed=is_listed)
        self._failed_suites.end_file(failed=has_failed or failure is not None)
        metadata.contains_failures |= has_failed
        if failure:
            self._unexplained += "details" not in failure
            metadata.counted["errors"] += 1
            metadata.contains_failures = True
            yield {**file.start_of_result(), "name": SUITE_LEVEL_NAME, "status": "error", "failure": failure}

    def _compare_failed_suites(self) -> None:
        """Note the suites of Vitest that failed without a failing test: their errors aren't in the report."""
        hidden = self._declared_suites - self._failed_suites.count
        if self._is_vitest and hidden > self._unexplained:
            self._metadata.is_damaged = True
            self._metadata.notes.append(
                f"{_FAILED_SUITES}: the report declares {self._declared_suites}, but contains the failures of "
                f"{self._failed_suites.count}. The JSON of Vitest omits errors of hooks: write JUnit XML too."
            )


def _add_tests(stream: JsonStream, tests: SpooledValues) -> None:
    start = stream.position
    for test in stream.items():
        tests.add(test)
        if stream.position - start > _MAX_SIZE:
            tests.write()
            start = stream.position
