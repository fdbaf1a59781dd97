"""Streaming reader of the JSON report of Jest (`jest --json`), which Vitest imitates (`--reporter=json`)."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from textwrap import dedent
from typing import Any, BinaryIO, Final, cast

from service.domain.statuses import NOT_FAILED, ResultStatus, states_failure
from service.failures.model import strip_escapes
from service.ingest.contract import AttemptIn, Failure, ResultIn
from service.reports.conversion.attempts import MAX_ATTEMPTS, MAX_COLLECTED, attempts_of, join_failures, status_of_word
from service.reports.conversion.errors import malformed, unsupported_keys
from service.reports.conversion.metadata import ReportMetadata
from service.reports.conversion.names import (
    SEPARATOR,
    SUITE_LEVEL_NAME,
    Checkout,
    portable_name,
    portable_path,
    suite_label,
)
from service.reports.conversion.times import epoch_ms, valid_milliseconds
from service.reports.streams.chunks import in_lists
from service.reports.streams.json import JsonStream
from service.reports.streams.json_values import (
    add_duration,
    count_of,
    line_of,
    object_of,
    text_of,
    texts_of,
    written_text,
)
from service.reports.streams.kept_values import SpooledValues

_MS: Final = timedelta(milliseconds=1)
_SUITE_FAILED: Final = "Test suite failed to run"  # the title of an error outside of the tests in the text of a file
_FOCUSED: Final = "focused"  # the status of a file that passed, but contains skipped tests
_NO_REASON: Final = "The report states that the file failed, but no reason."
_UNFINISHED: Final = "pending"  # Vitest has another word for a skipped test
_NOT_EXECUTED: Final = ("skipped", "canceled")
_RETRIED: Final = ("passed", "failed")
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
    return in_lists(_JestReader(metadata).results(JsonStream(source)))


class _JestReader:
    """Converts one report. The name of a file follows its tests."""

    def __init__(self, metadata: ReportMetadata) -> None:
        self._metadata = metadata
        self._is_vitest = True  # until a count shows the opposite
        self._failed_suites = _FailedSuites()
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
        file = _JestFile(fields, metadata.checkout, is_vitest=self._is_vitest)
        metadata.times.add(*file.times)
        has_failed = is_listed = False
        for test in tests:
            if _is_error_of_file(test):
                is_listed = True
                continue
            result = _result_of(test, file, metadata)
            failed = isinstance(test, dict) and result["status"] not in NOT_FAILED and states_failure(result["status"])
            has_failed |= failed
            if self._declared_suites and isinstance(test, dict):
                self._failed_suites.add(_titles_of(test), failed=failed)
            yield result
        failure = _failure_of_file(fields, file, has_failed=has_failed, is_listed=is_listed)
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


class _FailedSuites:
    """Counts the files, and the `describe` blocks in them, that contain a failing test.

    The tests of a block are adjacent, so that only the titles of the previous test are needed.
    """

    def __init__(self) -> None:
        self.count = 0
        self._titles: Sequence[str] = ()
        self._counted = 0  # of the titles

    def add(self, titles: Sequence[str], *, failed: bool) -> None:
        """Add a test with the titles of its blocks."""
        common = 0
        for previous, title in zip(self._titles, titles, strict=False):
            if previous != title:
                break
            common += 1
        self._titles = titles
        self._counted = min(self._counted, common)
        if failed:
            self.count += len(titles) - self._counted
            self._counted = len(titles)

    def end_file(self, *, failed: bool) -> None:
        """End the file."""
        self.count += failed
        self._titles = ()
        self._counted = 0


def _add_tests(stream: JsonStream, tests: SpooledValues) -> None:
    start = stream.position
    for test in stream.items():
        tests.add(test)
        if stream.position - start > _MAX_SIZE:
            tests.write()
            start = stream.position


class _JestFile:
    """A file of tests. `name` is its path below the checkout, or has no folders: the report states an absolute path."""

    def __init__(self, fields: Mapping[str, Any], checkout: Checkout, *, is_vitest: bool) -> None:
        path = text_of(fields, "name")
        self.name = portable_path(path, checkout.root) if path else ""
        self.is_vitest = is_vitest
        self._titles: list[str] = []
        self._label = suite_label([], file=self.name)
        self._fields = fields

    @property
    def times(self) -> tuple[datetime | None, float | None]:
        """The start and the duration."""
        start, end = epoch_ms(self._fields.get("startTime")), epoch_ms(self._fields.get("endTime"))
        return start, valid_milliseconds((end - start) / _MS) if start and end else None

    def suite_of(self, titles: list[str]) -> str:
        """Return the file, and in Jest the titles too, as in the reports of other reporters of the tools.

        Adjacent tests mostly have the same titles.
        """
        if not self.is_vitest and titles != self._titles:
            self._titles = titles
            self._label = suite_label([portable_name(title) for title in titles], file=self.name)
        return self._label

    def start_of_result(self) -> ResultIn:
        """Return the fields of a result of the file itself."""
        result: ResultIn = {"suite": self.name, "name": "", "status": "error"}
        if self.name:
            result["file"] = self.name
        return result


def _is_error_of_file(test: Any) -> bool:
    """Return whether an item is the error of a file: jest-junit adds it to the tests if it reports such errors."""
    return isinstance(test, dict) and test.get("status") == "error" and not {"title", "fullName"} & test.keys()


def _result_of(test: Any, file: _JestFile, metadata: ReportMetadata) -> ResultIn:
    """Return the native result of a test. Return any other value unchanged: ingest rejects it with its index."""
    if not isinstance(test, dict):
        return cast("ResultIn", test)
    titles = _titles_of(test)
    status = _status_of(test.get("status"), file)
    result: ResultIn = {"suite": file.suite_of(titles), "name": _name_of(test, titles, file), "status": status}
    if file.name:
        result["file"] = file.name
    if test.get("location") and (line := line_of(object_of(test, "location"))):
        result["line"] = line
    if started_at := epoch_ms(test.get("startAt")):
        result["started_at"] = started_at
    add_duration(result, test, metadata.unreadable)
    if test.get("failureMessages") or test.get("invocations", 1) != 1:
        _add_failures(result, test, metadata)
    if test.get("meta") or test.get("tags"):
        metadata.add_properties(result, _properties_of(test))
    _count(status, metadata)
    return result


def _titles_of(test: Mapping[str, Any]) -> list[str]:
    """Return the titles of the `describe` blocks around a test. Vitest 0 starts with the empty title of the file."""
    titles = texts_of(test, "ancestorTitles")
    return titles[1:] if titles[:1] == [""] else titles


def _status_of(word: Any, file: _JestFile) -> ResultStatus:
    """Return the status. In Vitest, a test that was still running or waiting at the end of the run is pending."""
    if word == _UNFINISHED and file.is_vitest:
        return "canceled"
    return status_of_word(word)


def _name_of(test: Mapping[str, Any], titles: Sequence[str], file: _JestFile) -> str:
    """Return the full name, with separators for Vitest, as in the reports of other reporters of the tools."""
    name = None if file.is_vitest else text_of(test, "fullName")
    if name is None:
        title = text_of(test, "title")
        if title is None:
            return cast("str", test.get("title"))  # ingest rejects it
        name = (SEPARATOR if file.is_vitest else " ").join((*titles, title))
    return portable_name(name) or file.name


def _add_failures(result: ResultIn, test: Mapping[str, Any], metadata: ReportMetadata) -> None:
    failures = [_failure_of(text) for text in texts_of(test, "failureMessages")]
    if failures and result["status"] != "passed":
        result["failure"] = join_failures(failures)
    if result["status"] in _RETRIED:
        _add_attempts(result, test, failures, metadata)


def _failure_of(text: str) -> Failure:
    """Return the first line as the message, and the complete text, with a stack, as details."""
    text = strip_escapes(text)
    message, _, more = text.partition("\n")
    return {"message": message, "details": text} if more else {"message": message}


def _add_attempts(result: ResultIn, test: Mapping[str, Any], failures: list[Failure], metadata: ReportMetadata) -> None:
    """Add the attempts before the last one. Jest counts them, and states their errors only if it logged them.

    Vitest doesn't count the attempts, but a test that passed has failures only if earlier attempts failed. Don't add an
    attempt for each retry without a text: a few bytes of a report would become a thousand rows.
    """
    retries = (count_of(test, "invocations") or 1) - 1
    reasons = [_failure_of(text) for text in texts_of(test, "retryReasons")]
    if result["status"] == "passed":
        reasons = reasons or failures
    if retries > 0 and retries == len(reasons):
        earlier: list[AttemptIn] = [{"status": "failed", "failure": reason} for reason in reasons]
    elif retries > 0 or (reasons and result["status"] == "passed"):
        earlier = [{"status": "failed", "failure": join_failures(reasons)} if reasons else {"status": "failed"}]
    else:
        return
    attempts = [*earlier, *attempts_of(result)][-MAX_ATTEMPTS:]
    result["attempts"] = attempts
    if retries >= len(attempts):
        result["retries"] = min(retries, MAX_ATTEMPTS - 1)
    metadata.contains_failures = True


def _properties_of(test: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the tags of a test, and the values that it writes to `task.meta` of Vitest."""
    yield from (("tags", tag) for tag in texts_of(test, "tags"))
    yield from ((name, written_text(value)) for name, value in object_of(test, "meta").items())


def _count(status: ResultStatus, metadata: ReportMetadata) -> None:
    metadata.counted["tests"] += 1
    if status != "passed":
        metadata.counted["failures"] += status == "failed"
        metadata.counted["skipped"] += status in _NOT_EXECUTED


def _failure_of_file(
    fields: Mapping[str, Any], file: _JestFile, *, has_failed: bool, is_listed: bool
) -> Failure | None:
    """Return the failure of a file that can't be loaded, or of a hook of the file. None if only its tests failed.

    `has_failed` states whether a test has failed, and `is_listed` whether the tests contain the error of the file. The
    text of a file in a report of Jest contains the failures of its tests too.
    """
    text = text_of(fields, "message") or ""
    _, title, reason = text.partition(_SUITE_FAILED)
    if not title:
        reason = text if file.is_vitest or not has_failed else ""
    if reason := dedent(strip_escapes(reason[:MAX_COLLECTED])).strip():
        return {"message": reason.partition("\n")[0], "details": reason}
    status = fields.get("status")
    states_one = isinstance(status, str) and status != _FOCUSED and states_failure(status)
    return {"message": _NO_REASON} if is_listed or (states_one and not has_failed) else None
