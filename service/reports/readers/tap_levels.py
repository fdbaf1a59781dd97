"""The levels of a TAP document, which are the document itself and the subtests in it, and their test points."""

from collections.abc import Sequence
from typing import Final

from service.contracts.run_events import ResultIn
from service.reports.bounded_text import BoundedText
from service.reports.errors import malformed
from service.reports.readers.tap_diagnostics import Diagnostics
from service.reports.readers.tap_lines import TestPoint
from service.reports.suites import suite_label

_MAX_HELD: Final = 10_000  # results of subtests whose title follows
INDENT: Final = 4  # spaces of a subtest
_MAX_DEPTH: Final = 50
_MAX_SHOWN: Final = 20  # digits
# The `failureType` of node:test if only a subtest failed.
_SUBTESTS_FAILED: Final = "subtestsFailed"


class OpenPoint:
    """A test point whose diagnostics can follow.

    `subtest` is the closed level of its subtest, and `output` the text before the point that isn't TAP.
    """

    __slots__ = ("diagnostics", "has_other_text", "has_yaml", "indent", "name", "output", "point", "subtest")

    def __init__(
        self, point: TestPoint, name: str, indent: int, subtest: "Level | None", output: BoundedText | None
    ) -> None:
        self.point = point
        self.name = name
        self.indent = indent
        self.subtest: Level | None = subtest
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


class Level:
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
        self.opener: OpenPoint | None = None
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


class Levels:
    """The open levels, and the results that they have returned."""

    def __init__(self) -> None:
        self.results: list[ResultIn] = []
        self.file: str | None = None  # of the document
        self._open = [Level(0, "")]

    @property
    def document(self) -> Level:
        """The outermost level."""
        return self._open[0]

    @property
    def current(self) -> Level:
        """The innermost level."""
        return self._open[-1]

    @property
    def outermost_title(self) -> str | None:
        """The title of the outermost subtest."""
        return self._open[1].title if len(self._open) > 1 else None

    def start_document(self, file: str | None) -> None:
        """Start a document, which is the output of one test file."""
        self._open = [Level(0, "")]
        self.file = file

    def open(self, title: str | None) -> None:
        """Open a subtest of the current level. Raises ReportError if it is too deep: a result has the titles of all."""
        if len(self._open) > _MAX_DEPTH:
            raise malformed(f"subtests can be nested at most {_MAX_DEPTH} levels deep")
        self._open.append(Level(self.current.indent + INDENT, title))

    def contains(self, indent: int) -> bool:
        """Return whether lines with this indentation can belong to the document or to a subtest.

        Deeper lines are output, except for those of a subtest of the deepest level.
        """
        return indent % INDENT == 0 and indent <= max(_MAX_DEPTH * INDENT, self.current.indent + INDENT)

    def close(self) -> Level:
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
