"""The documents of a TAP report: test points in levels become results.

A test point with test points in its subtest is a suite; its own failure is a separate result if no result in it failed.
Any other test point is a case. An incomplete level contains an error, because its failures can be missing. Without a
plan, nothing shows how many test points follow, so that the report is damaged.
"""

from collections.abc import Callable, Sequence
from typing import Final

from service.domain.statuses import FAILING, ResultStatus
from service.ingest.contract import Failure, ResultIn
from service.reports.conversion.errors import malformed
from service.reports.conversion.metadata import ReportMetadata
from service.reports.conversion.names import SUITE_LEVEL_NAME, Checkout, suite_label
from service.reports.conversion.output import BoundedText, set_output
from service.reports.conversion.times import milliseconds
from service.reports.formats.junit.cases import names_test_file
from service.reports.formats.tap.diagnostics import Diagnostics
from service.reports.formats.tap.lines import TODO, TestPoint

_MAX_HELD: Final = 10_000  # results of subtests whose title follows
INDENT: Final = 4  # spaces of a subtest
_MAX_DEPTH: Final = 50
_MAX_SHOWN: Final = 20  # digits
# The `failureType` of node:test if only a subtest failed.
_SUBTESTS_FAILED: Final = "subtestsFailed"
_NO_FAILURE: Final = "The test point of the subtest failed, but none of the test points in it."
_MAX_NOTES: Final = 20
_NO_POINT: Final = "The report contains no test point after the subtest."


class _OpenPoint:
    """A test point whose diagnostics can follow.

    `subtest` is the closed level of its subtest, and `output` the text before the point that isn't TAP.
    """

    __slots__ = ("diagnostics", "has_other_text", "has_yaml", "indent", "name", "output", "point", "subtest")

    def __init__(
        self, point: TestPoint, name: str, indent: int, subtest: "_Level | None", output: BoundedText | None
    ) -> None:
        self.point = point
        self.name = name
        self.indent = indent
        self.subtest: _Level | None = subtest
        self.output = output
        self.diagnostics = Diagnostics()
        self.has_yaml = False
        self.has_other_text = False  # after the point, at its own indentation

    @property
    def takes_text(self) -> bool:
        """Whether comments and indented text after the point are its diagnostics."""
        return not (self.point.is_ok or self.has_yaml)

    @property
    def is_suite(self) -> bool:
        """Whether the subtest contains test points."""
        return self.subtest is not None and self.subtest.points > 0

    @property
    def states_failure(self) -> bool:
        """Whether the point states a failure that no result in its subtest states."""
        if not self.point.fails:
            return False
        kind = self.diagnostics.fields.get("failureType")
        has_own = kind is not None and kind != _SUBTESTS_FAILED
        return has_own or self.subtest is None or not self.subtest.has_failures


class _Level:
    """An open level. `title` is None if only the test point after the subtest states it.

    `plan` is the number of planned test points, and `plan_is_last` states that it followed them. `has_failures` states
    that a result of the level failed. `opener` is the test point before the level, if the level is in braces.
    """

    __slots__ = (
        "failing", "has_failures", "held", "indent", "label", "opener", "plan", "plan_is_last", "points", "title",
        "todo", "wrong_number",
    )  # fmt: skip

    def __init__(self, indent: int, title: str | None) -> None:
        self.indent = indent
        self.title = title
        self.label: str | None = None  # the suite, after its first use
        self.points = 0
        self.wrong_number = ""  # the first difference of a number from the position of its test point
        self.plan: int | None = None
        self.plan_is_last = False
        self.has_failures = False
        self.failing = self.todo = 0  # of a document: its test points that fail at any level, and those with a TODO
        self.opener: _OpenPoint | None = None
        self.held: list[tuple[tuple[str, ...], ResultIn]] = []  # results with the titles between this level and them

    @property
    def is_used(self) -> bool:
        """Whether the level contains a plan or a test point."""
        return self.points > 0 or self.plan is not None

    @property
    def is_complete(self) -> bool:
        """Whether all planned test points have been read."""
        return self.plan is not None and self.points >= self.plan

    @property
    def defect(self) -> str:
        """The difference from the plan, or an empty text."""
        if self.plan is None:
            is_empty = self.opener is not None and not self.points
            return "" if is_empty else f"The report ends before the plan, after {self.points} test points."
        if self.plan != self.points:
            return f"The plan states {self.plan} test points, but the report contains {self.points}."
        return self.wrong_number

    def count_point(self, number: str | None) -> None:
        """Count a test point with this number, if it has one. Another number than the next one is a defect."""
        self.points += 1
        if number and number != str(self.points) and not self.wrong_number:
            self.wrong_number = f"The test point {self.points} has the number {number[:_MAX_SHOWN]}."


class TapDocuments:
    """Builds the results of the documents. The diagnostics of a test point follow it, so that one point stays open.

    `title` is the one of the next subtest or test point, and `heading` the one of the next test points.
    """

    def __init__(self, metadata: ReportMetadata) -> None:
        self.point: _OpenPoint | None = None
        self.title: str | None = None
        self.heading = ""
        self.levels = _Levels()
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

        Its comment is indented like the test point, or, in old versions of Test::More, like the subtest.
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
        self.point = _OpenPoint(point, name, indent, subtest, self._other_text)
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
            self._add(_case_of(opened, self._file(), self.levels.label, self._metadata), path)
        elif opened.states_failure and opened.subtest:
            self._add(_suite_failure_of(opened, self._metadata), (opened.subtest.title or "",))

    def open_block(self, opened: _OpenPoint) -> None:
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

    def _enter(self, indent: int, point: TestPoint | None = None) -> _Level | None:
        """Open or close levels up to the one with this indentation, and return the subtest of the test point."""
        levels = self.levels
        subtest: _Level | None = None
        while indent > levels.current.indent:
            levels.open(self.title)
            self.title = None
        while levels.current.indent > indent:
            is_subtest = point is not None and levels.current.indent == indent + INDENT
            has_point = is_subtest or levels.current.opener
            closed = self._close_level(point.name if point else "", "" if has_point else _NO_POINT)
            subtest = None if closed.opener else closed
        return subtest

    def _close_level(self, title: str, defect: str = "") -> _Level:
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

    def _check(self, level: _Level, defect: str = "") -> None:
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


class _Levels:
    """The open levels, and the results that they have returned."""

    def __init__(self) -> None:
        self.results: list[ResultIn] = []
        self.file: str | None = None  # of the document
        self._open = [_Level(0, "")]

    @property
    def document(self) -> _Level:
        """The outermost level."""
        return self._open[0]

    @property
    def current(self) -> _Level:
        """The innermost level."""
        return self._open[-1]

    @property
    def outermost_title(self) -> str | None:
        """The title of the outermost subtest."""
        return self._open[1].title if len(self._open) > 1 else None

    def start_document(self, file: str | None) -> None:
        """Start a document, which is the output of one test file."""
        self._open = [_Level(0, "")]
        self.file = file

    def open(self, title: str | None) -> None:
        """Open a subtest of the current level. Raises ReportError if it is too deep: a result has the titles of all."""
        if len(self._open) > _MAX_DEPTH:
            raise malformed(f"subtests can be nested at most {_MAX_DEPTH} levels deep")
        self._open.append(_Level(self.current.indent + INDENT, title))

    def contains(self, indent: int) -> bool:
        """Return whether lines with this indentation can belong to the document or to a subtest.

        Deeper lines are output, except for the lines of a subtest of the deepest level.
        """
        return indent % INDENT == 0 and indent <= max(_MAX_DEPTH * INDENT, self.current.indent + INDENT)

    def close(self) -> _Level:
        """Close the current level, and return it."""
        return self._open.pop()

    def name(self, title: str) -> None:
        """Set the title of the current level if it has none, and return its results."""
        level = self.current
        if level.title is None:
            level.title = title
            held, level.held = level.held, []
            for path, result in held:
                self.add(result, path)

    def add(self, result: ResultIn, path: tuple[str, ...] = ()) -> None:
        """Add a result of the current level, or of the levels with these titles in it."""
        if not path and (label := self.current.label) is not None:
            result["suite"] = label
            self.results.append(result)
            return
        self._add_below(result, path)

    def _add_below(self, result: ResultIn, path: tuple[str, ...]) -> None:
        is_own = not path
        for level in reversed(self._open[1:]):
            if level.title is None:
                if len(level.held) >= _MAX_HELD:
                    raise malformed(f"a subtest without a title before it has more than {_MAX_HELD} test points")
                level.held.append((path, result))
                return
            path = (level.title, *path)
        result["suite"] = label = self._label(path)
        if is_own:
            self.current.label = label
        self.results.append(result)

    def label(self) -> str:
        """Return the suite of the current level, without titles that aren't known yet."""
        return self._label(tuple(level.title for level in self._open[1:] if level.title))

    def _label(self, path: Sequence[str]) -> str:
        return suite_label(tuple(filter(None, path)), file=self.file)


def _case_of(opened: _OpenPoint, file: str | None, label_of: Callable[[], str], metadata: ReportMetadata) -> ResultIn:
    """Return the result of a test point. `label_of` returns its suite for the heading of its output."""
    point, diagnostics = opened.point, opened.diagnostics
    status: ResultStatus = "failed" if point.fails else "skipped" if point.directive else "passed"
    result: ResultIn = {"name": opened.name, "status": status}
    if written := point.duration_ms or (diagnostics.duration_ms if opened.has_yaml else ""):
        metadata.unreadable.set_duration(result, written, milliseconds(f"{written}e-3"))
    if file:
        result["file"] = metadata.checkout.file_of(file)
    if status == "passed":
        return result
    failure: Failure = diagnostics.failure
    if point.directive and point.reason:
        failure = {**failure, "message": point.reason}
    if failure:
        result["failure"] = failure
    _add_location(result, diagnostics, metadata.checkout)
    if status == "failed" and opened.output:
        set_output(result, metadata.output.add(f"{label_of()} {opened.name}", [("output.txt", opened.output)]))
    return result


def _add_location(result: ResultIn, diagnostics: Diagnostics, checkout: Checkout) -> None:
    """Add the file, unless it is known, and the line if it is in this file."""
    location = diagnostics.location
    if location is None:
        return
    file = checkout.file_of(location.file.removeprefix("./"))
    if result.setdefault("file", file) == file:
        result["line"] = location.line


def _suite_failure_of(opened: _OpenPoint, metadata: ReportMetadata) -> ResultIn:
    """Return the failure of a test point with a subtest as a separate result, so that it isn't lost."""
    failure = opened.diagnostics.failure or {"message": _NO_FAILURE}
    result: ResultIn = {"name": SUITE_LEVEL_NAME, "status": "failed", "failure": failure}
    _add_location(result, opened.diagnostics, metadata.checkout)
    return result
