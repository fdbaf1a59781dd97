"""The files of a JSON report of Jest or Vitest: their labels, and failures that belong to no test."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from textwrap import dedent
from typing import Any, Final

from service.contracts.run_events import Failure, ResultIn
from service.domain.failures import strip_escapes
from service.domain.statuses import states_failure
from service.reports.failures import MAX_COLLECTED
from service.reports.json_values import text_of
from service.reports.paths import Checkout, portable_name, portable_path
from service.reports.suites import suite_label
from service.reports.times import epoch_ms, valid_milliseconds

_MS: Final = timedelta(milliseconds=1)
_SUITE_FAILED: Final = "Test suite failed to run"  # the title of an error outside of the tests in the text of a file
_FOCUSED: Final = "focused"  # the status of a file that passed, but contains skipped tests
_NO_REASON: Final = "The report states that the file failed, but no reason."


class JestFile:
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


def is_error_of_file(test: Any) -> bool:
    """Return whether an item is the error of a file: jest-junit adds it to the tests if it reports such errors."""
    return isinstance(test, dict) and test.get("status") == "error" and not {"title", "fullName"} & test.keys()


def failure_of_file(fields: Mapping[str, Any], file: JestFile, *, has_failed: bool, is_listed: bool) -> Failure | None:
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


class FailedSuites:
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
