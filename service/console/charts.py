"""The geometry of charts: numbers to positions in a view box. Templates draw it. A missing value is a gap, not zero."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from math import ceil
from typing import Final, NamedTuple

from service.console.formats import format_count, format_plural
from service.console.labels import RESULT_LABELS, Tone
from service.domain.statuses import Counts

WIDTH: Final = 100.0  # of the view box of a chart that fills the width of its container
HEIGHT: Final = 100.0
CELL_PITCH: Final = 12
CELL_WIDTH: Final = 10
CELL_HEIGHT: Final = 32
_MIN_SEGMENT: Final = 2.0
_SEGMENTS: Final = ("failed", "error", "flaky", "passed", "skipped", "canceled")
_BAR_SHARE: Final = 0.72  # of a column; the rest is the space between bars
_MAX_BAR_WIDTH: Final = 8.0  # the bar of a chart with few columns
_RATE_FLOORS: Final = (0.95, 0.9, 0.8, 0.5, 0.0)
_CEILINGS_MS: Final = (
    *(step * size for size in (1, 10, 100) for step in (1, 2, 5)),
    *(seconds * 1_000 for seconds in (1, 2, 5, 10, 15, 30)),
    *(minutes * 60_000 for minutes in (1, 2, 5, 10, 15, 30)),
    *(hours * 3_600_000 for hours in (1, 2, 4, 8, 12, 24)),
)
_DAY_MS: Final = 86_400_000

# The corners of a cell of the history strip, as shares of its width and height. Each status has its own shape.
_FULL: Final = ((0, 0), (1, 0), (1, 1), (0, 1))
_CELL_SHAPES: Final[Mapping[str, tuple[tuple[tuple[float, float], ...], ...]]] = {
    "passed": (((0, 0.4), (1, 0.4), (1, 1), (0, 1)),),
    "failed": (_FULL,),
    "error": (((0, 0), (1, 0), (1, 0.66), (0, 0.66)), ((0, 0.78), (1, 0.78), (1, 1), (0, 1))),
    "flaky": (((0, 0.6), (1, 0.15), (1, 1), (0, 1)),),
    "skipped": (((0, 0.84), (1, 0.84), (1, 1), (0, 1)),),
    "canceled": (((0, 0.62), (1, 0.62), (1, 0.72), (0, 0.72)),),
}


class CountSegment(NamedTuple):
    """The part of a counts bar for one status."""

    status: str
    results: int
    x: float
    width: float

    @property
    def tone(self) -> Tone:
        """The color."""
        return RESULT_LABELS[self.status].tone


class StripItem(NamedTuple):
    """One result to show in a history strip. `status` is flaky for a flaky result."""

    status: str
    title: str
    href: str


class StripCell(NamedTuple):
    """One result in a history strip, with its shape."""

    status: str
    path: str
    title: str
    href: str


class HistoryStrip(NamedTuple):
    """The results of a case, oldest first."""

    cells: tuple[StripCell, ...]
    width: int
    height: int
    summary: str


class ChartPoint(NamedTuple):
    """A measured value. `x` is the center of its column."""

    column: int
    x: float
    y: float


class LineChart(NamedTuple):
    """A line with one column per value. Each unbroken series of values is one line and one area."""

    line: str
    area: str
    points: tuple[ChartPoint, ...]
    column_width: float
    floor: float
    ceiling: float


class DurationBar(NamedTuple):
    """The bar of one value, and above it the extension from `y` to `upper_y` (equal without an upper value)."""

    column: int
    x: float
    width: float
    y: float
    upper_y: float


class ReferenceLine(NamedTuple):
    """A horizontal line at a statistical value of the bars."""

    label: str
    value_ms: float
    y: float


class ChartColumn(NamedTuple):
    """The label and the text of a column of a chart. `status` selects the color of a bar."""

    label: str
    text: str
    status: str | None = None


class CountBar(NamedTuple):
    """The bar of one number."""

    x: float
    width: float
    y: float
    height: float


class BarChart(NamedTuple):
    """Bars of durations from zero to a rounded maximum."""

    bars: tuple[DurationBar, ...]
    lines: tuple[ReferenceLine, ...]
    column_width: float
    ceiling_ms: int


def count_segments(counts: Counts) -> tuple[CountSegment, ...]:
    """Return the segments of a stacked bar, the failing ones first. No segment is too narrow to be seen.

    Flaky results are passed results, but they have their own segment.
    """
    disjoint = counts._replace(passed=max(0, counts.passed - counts.flaky))._asdict()
    shown = {status: disjoint[status] for status in _SEGMENTS if disjoint[status]}
    scale = (WIDTH - _MIN_SEGMENT * len(shown)) / max(1, sum(shown.values()))
    segments: list[CountSegment] = []
    x = 0.0
    for status, count in shown.items():
        width = _MIN_SEGMENT + count * scale
        segments.append(CountSegment(status, count, _round(x), _round(width)))
        x += width
    return tuple(segments)


def describe_counts(counts: Counts) -> str:
    """Return the counts as text, such as `1 failed, 12 passed (2 flaky)`."""
    by_status = counts._asdict()
    flaky = f" ({format_count(counts.flaky)} flaky)" if counts.flaky else ""
    shown = [
        f"{format_count(by_status[status])} {RESULT_LABELS[status].text.lower()}{flaky if status == 'passed' else ''}"
        for status in ("failed", "error", "passed", "skipped", "canceled")
        if by_status[status]
    ]
    return ", ".join(shown) or "No results"


def history_strip(newest_first: Sequence[StripItem]) -> HistoryStrip:
    """Return the strip of results, from the oldest to the newest one."""
    cells = tuple(
        StripCell(item.status, _cell_path(item.status, position * CELL_PITCH), item.title, item.href)
        for position, item in enumerate(reversed(newest_first))
    )
    width = max(1, len(cells) * CELL_PITCH - (CELL_PITCH - CELL_WIDTH))
    return HistoryStrip(cells, width, CELL_HEIGHT, _summarize(cells))


def _cell_path(status: str, left: int) -> str:
    polygons = (
        "L".join(f"{_number(left + x * CELL_WIDTH)} {_number(y * CELL_HEIGHT)}" for x, y in corners)
        for corners in _CELL_SHAPES[status]
    )
    return "".join(f"M{polygon}Z" for polygon in polygons)


def _summarize(cells: Sequence[StripCell]) -> str:
    statuses = [cell.status for cell in cells]
    counts = {status: statuses.count(status) for status in _CELL_SHAPES}
    shown = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    return f"Last {format_plural(len(cells), 'result')}: {shown}" if cells else "No results"


def rate_chart(rates: Sequence[float | None]) -> LineChart:
    """Return the line of rates, from a rounded minimum to 100 %."""
    measured = [rate for rate in rates if rate is not None]
    floor = next(floor for floor in _RATE_FLOORS if floor <= min(measured, default=0.0))
    return line_chart(rates, floor, 1.0)


def line_chart(values: Sequence[float | None], floor: float, ceiling: float) -> LineChart:
    """Return the line of values. The line is interrupted at each missing value."""
    column = WIDTH / max(1, len(values))
    scale = HEIGHT / (ceiling - floor)
    points = tuple(
        ChartPoint(index, _round((index + 0.5) * column), _round(HEIGHT - (value - floor) * scale))
        for index, value in enumerate(values)
        if value is not None
    )
    series = list(_unbroken(points))
    return LineChart("".join(map(_line, series)), "".join(map(_area, series)), points, _round(column), floor, ceiling)


def _unbroken(points: Sequence[ChartPoint]) -> Iterator[list[ChartPoint]]:
    """Yield the points of each series without a gap."""
    for _, series in groupby(enumerate(points), lambda item: item[1].column - item[0]):
        yield [point for _, point in series]


def _line(series: Sequence[ChartPoint]) -> str:
    return "M" + "L".join(f"{_number(point.x)} {_number(point.y)}" for point in series)


def _area(series: Sequence[ChartPoint]) -> str:
    if len(series) == 1:
        return ""
    first, last = _number(series[0].x), _number(series[-1].x)
    return f"{_line(series)}L{last} {_number(HEIGHT)}L{first} {_number(HEIGHT)}Z"


def duration_chart(
    values_ms: Sequence[float | None],
    upper_ms: Sequence[float | None] = (),
    lines_ms: Mapping[str, float | None] | None = None,
) -> BarChart:
    """Return the bars of durations, each with an optional upper value (a percentile), and lines such as the p95."""
    uppers = upper_ms or [None] * len(values_ms)
    references = {label: value for label, value in (lines_ms or {}).items() if value is not None}
    ceiling = nice_ceiling_ms(max((value for value in (*values_ms, *uppers, *references.values()) if value), default=0))
    column = WIDTH / max(1, len(values_ms))
    width = min(column * _BAR_SHARE, _MAX_BAR_WIDTH)
    bars = tuple(
        DurationBar(
            index,
            _round((index + 0.5) * column - width / 2),
            _round(width),
            _height(value, ceiling),
            _height(max(value, upper or 0), ceiling),
        )
        for index, (value, upper) in enumerate(zip(values_ms, uppers, strict=True))
        if value is not None
    )
    lines = tuple(ReferenceLine(label, value, _height(value, ceiling)) for label, value in references.items())
    return BarChart(bars, lines, _round(column), ceiling)


def count_bars(values: Sequence[int]) -> list[CountBar]:
    """Return the bars of numbers from zero to the greatest one. Zero has no bar, but a column."""
    column = WIDTH / max(1, len(values))
    scale = HEIGHT / max(1, *values, 1)
    return [
        CountBar(
            _round((index + (1 - _BAR_SHARE) / 2) * column),
            _round(column * _BAR_SHARE),
            _round(HEIGHT - value * scale),
            _round(value * scale),
        )
        for index, value in enumerate(values)
    ]


def _height(value_ms: float, ceiling_ms: int) -> float:
    return _round(HEIGHT - value_ms / ceiling_ms * HEIGHT)


def nice_ceiling_ms(maximum_ms: float) -> int:
    """Return the smallest round duration that isn't smaller than the maximum."""
    for ceiling in _CEILINGS_MS:
        if ceiling >= maximum_ms:
            return ceiling
    return ceil(maximum_ms / _DAY_MS) * _DAY_MS


def _round(value: float) -> float:
    return round(value, 2)


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
