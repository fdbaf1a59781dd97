"""The documents of a TAP report: test points in levels become results.

A test point with test points in its subtest is a suite; its own failure is a separate result if no result in it failed.
Any other test point is a case. An incomplete level contains an error, because its failures can be missing. Without a
plan, nothing shows how many test points follow, so that the report is damaged.
"""

from typing import Final

from service.contracts.run_events import Failure, ResultIn
from service.domain.statuses import FAILING
from service.reports.bounded_text import BoundedText
from service.reports.metadata import ReportMetadata
from service.reports.output import set_output
from service.reports.readers.junit_dialects import names_test_file
from service.reports.readers.tap_levels import INDENT, Level, Levels, OpenPoint
from service.reports.readers.tap_lines import TODO, TestPoint
from service.reports.readers.tap_results import case_of, suite_failure_of
from service.reports.suites import SUITE_LEVEL_NAME

_MAX_NOTES: Final = 20
_NO_POINT: Final = "The report contains no test point after the subtest."


class TapDocuments:
    """Builds the results of the documents. The diagnostics of a test point follow it, so that one point stays open.

    `title` is the one of the next subtest or test point, and `heading` the one of the next test points.
    """

    def __init__(self, metadata: ReportMetadata) -> None:
        self.point: OpenPoint | None = None
        self.title: str | None = None
        self.heading = ""
        self.levels = Levels()
        self.count = 0  # of ended documents
        self._metadata = metadata
        self._title_indent = 0
        self._other_text: BoundedText | None = None

    def start(self, file: str | None = None) -> None:
        """Start the next document, which is the output of this file."""
        self.levels.start_document(file)
        self.title, self.heading = None, ""

    def end(self) -> None:
        """End the document. Add an error if it is incomplete."""
        self.finish_point()
        while self.levels.current is not self.levels.document:
            self._close_level("", _NO_POINT)
        self._check(self.levels.document)
        self.count += 1

    def add_text(self, line: str) -> None:
        """Add a line that isn't TAP: output of the test point that follows."""
        self._other_text = self._other_text or BoundedText()
        self._other_text.add(f"{line}\n")

    def set_title(self, title: str, indent: int) -> None:
        """Set the title of the next subtest or test point. A title in a subtest opens the subtest.

        Its comment has the indentation of the test point, or, in old versions of Test::More, that of the subtest.
        """
        self.finish_point()
        is_nested = self.title is not None and indent == self._title_indent + INDENT
        # Without this condition, two titles that alternate would open a level each time.
        if is_nested and self.levels.current.indent < indent:
            self.levels.open(self.title)
        self.title, self._title_indent = title, indent

    def start_point(self, point: TestPoint, indent: int) -> None:
        """Start a test point with this indentation. It closes its subtest."""
        self.finish_point()
        if not indent and self.levels.document.plan_is_last:
            self.end()
            self.start()
        subtest = self._enter(indent, point)
        level = self.levels.current
        title = subtest.title if subtest else self.title
        # node:test, which writes titles, can number the test point of a file by itself.
        level.count_point(None if title else point.number)
        self.levels.document.failing += point.fails
        self.levels.document.todo += not point.is_ok and point.directive == TODO
        name = point.name or title or f"test {level.points}"
        self.point = OpenPoint(point, name, indent, subtest, self._other_text)
        self.title = self._other_text = None
        if point.opens_block:
            self.open_block(self.point)

    def finish_point(self) -> None:
        """Add the result of the open test point."""
        opened, self.point = self.point, None
        if opened is None:
            return
        if not opened.is_suite:
            path = (self.heading,) if self.heading and not opened.indent else ()
            self._add(case_of(opened, self._file(), self.levels.label, self._metadata), path)
        elif opened.states_failure and opened.subtest:
            self._add(suite_failure_of(opened, self._metadata), (opened.subtest.title or "",))

    def open_block(self, opened: OpenPoint) -> None:
        """Open the subtest of a test point, which follows in braces."""
        self.point = None
        self.levels.open(opened.name)
        self.levels.current.opener = opened

    def close_block(self) -> None:
        """Close the subtest in braces, and add the result of its test point."""
        self.finish_point()
        self._close_level("")

    def set_plan(self, number: int, reason: str, indent: int) -> None:
        """Set the number of planned test points of the level with this indentation. A second plan starts a document."""
        self.finish_point()
        if not indent and self.levels.document.plan is not None:
            self.end()
            self.start()
        self._enter(indent)
        level = self.levels.current
        level.plan_is_last = level.points > 0
        level.plan = number + (level.plan or 0)
        if not (indent or number):
            self._skip_document(reason)

    def bail_out(self, message: str) -> None:
        """Add an error of the document. The open levels aren't incomplete: they have stopped."""
        self.finish_point()
        while self.levels.current is not self.levels.document:
            self.levels.name("subtest")
            self.levels.close()
        self.add_error(message)

    def add_error(self, message: str) -> None:
        """Add an error of the current level, with the text before it."""
        output, self._other_text = self._other_text, None
        result: ResultIn = {"name": SUITE_LEVEL_NAME, "status": "error", "failure": {"message": message}}
        if output:
            set_output(result, self._metadata.output.add(self.levels.label(), [("output.txt", output)]))
        self._add(result)

    def compare_failures(self, declared: int, has_plain_titles: bool) -> None:
        """Compare the number of failures that the document states at its end. If it is larger, failures are missing.

        A directive in a title can hide a failure, such as `not ok 1 renders # todo items` of tape, which doesn't escape
        titles. Other tools escape them, and AVA counts test points with a TODO as failures.
        """
        document = self.levels.document
        contained = document.failing + (0 if has_plain_titles else document.todo)
        if declared > contained:
            self._metadata.is_damaged = True
            self._note(f"The report states {declared} failures, but {contained} test points fail.")

    def _enter(self, indent: int, point: TestPoint | None = None) -> Level | None:
        """Open or close levels up to the one with this indentation, and return the subtest of the test point."""
        levels = self.levels
        subtest: Level | None = None
        while indent > levels.current.indent:
            levels.open(self.title)
            self.title = None
        while levels.current.indent > indent:
            is_subtest = point is not None and levels.current.indent == indent + INDENT
            has_point = is_subtest or levels.current.opener
            closed = self._close_level(point.name if point else "", "" if has_point else _NO_POINT)
            subtest = None if closed.opener else closed
        return subtest

    def _close_level(self, title: str, defect: str = "") -> Level:
        """Close the current level, and add the result of the test point before it, if there is one."""
        level = self.levels.current
        self.levels.name(title or "subtest")
        self._check(level, "" if level.opener else defect)
        self.levels.close()
        self.levels.current.has_failures |= level.has_failures
        if level.opener:
            level.opener.subtest = level
            self.point = level.opener
            self.finish_point()
        return level

    def _check(self, level: Level, defect: str = "") -> None:
        if defect := level.defect or defect:
            self._metadata.is_damaged |= level.plan is None
            self._note(defect)
            self.add_error(defect)

    def _skip_document(self, reason: str) -> None:
        """Add a skipped result of the file. Without a file, only a note can state the reason."""
        if file := self.levels.file:
            failure: Failure = {"message": reason} if reason else {}
            self.levels.results.append({"suite": "", "name": file, "status": "skipped", "failure": failure})
        else:
            self._note(f"All test points were skipped: {reason or 'the report states no reason'}")

    def _note(self, text: str) -> None:
        if len(self._metadata.notes) < _MAX_NOTES:
            self._metadata.notes.append(f"{self.levels.label() or 'plan'}: {text}")

    def _add(self, result: ResultIn, path: tuple[str, ...] = ()) -> None:
        has_failed = result["status"] in FAILING
        self.levels.current.has_failures |= has_failed
        self._metadata.contains_failures |= has_failed
        self.levels.add(result, path)

    def _file(self) -> str | None:
        """Return the file of the document, or the file in the title of the outermost subtest (node-tap)."""
        title = self.levels.outermost_title
        return self.levels.file or (title if title and names_test_file(title) else None)
