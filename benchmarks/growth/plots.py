"""Charts of the measured growth as SVG: factors relative to the first size, with the limit as a dashed line."""

from collections.abc import Iterator, Sequence
from html import escape
from math import ceil, log10
from typing import Final

from benchmarks.growth.limits import NOISE, GrowthTable, limit
from benchmarks.growth.tables import format_size

_WIDTH: Final = 800
_HEIGHT: Final = 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 480, 40, 260  # the edges of the plotted area; the legend is on its right
_FONT: Final = 'font-family="sans-serif" font-size="12" role="img"'
_LEGEND_X: Final = 500
_LINE_HEIGHT: Final = 18
_COLORS: Final = ("#0b6bcb", "#c2410c", "#15803d", "#7c3aed", "#b91c1c", "#0e7490")
_DASHES: Final = ("", "5 3")  # distinguishes lines of the same color


def draw_chart(table: GrowthTable) -> str:
    """Return the chart of a table. The horizontal axis is logarithmic."""
    sizes = list(table.rows[0].values)
    limits = [limit(sizes[0], size) + NOISE for size in sizes]
    highest = max(*limits, *(factor for row in table.rows for factor in row.factors.values()))
    axes = _Axes(sizes, ceil(highest * 2) / 2)
    parts = [*axes.draw(), _path(axes, sizes, limits, "#6b7280", "2 4"), _label(0, "limit", "#6b7280", "2 4")]
    for index, row in enumerate(table.rows):
        color, dash = _COLORS[index % len(_COLORS)], _DASHES[index // len(_COLORS) % len(_DASHES)]
        parts += [_path(axes, sizes, list(row.factors.values()), color, dash), _label(index + 1, row.name, color, dash)]
    title = escape(table.title)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" {_FONT} aria-label="{title}">',
            '<rect width="100%" height="100%" fill="#fff"/>',
            f'<text x="{_LEFT}" y="22" font-size="14" font-weight="bold">{title}</text>',
            *parts,
            "</svg>\n",
        ]
    )


class _Axes:
    """The positions of sizes and factors, and the lines of the grid."""

    def __init__(self, sizes: Sequence[int], highest: float) -> None:
        self._sizes = sizes
        self._highest = highest

    def x(self, size: int) -> float:
        return _LEFT + (_RIGHT - _LEFT) * log10(size / self._sizes[0]) / log10(self._sizes[-1] / self._sizes[0])

    def y(self, factor: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * factor / self._highest

    def draw(self) -> Iterator[str]:
        step = 0.5 if self._highest <= 4 else ceil(self._highest / 8)
        for number in range(int(self._highest / step) + 1):
            y = self.y(number * step)
            yield f'<path d="M{_LEFT} {y:.1f}H{_RIGHT}" stroke="#e5e7eb"/>'
            yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#374151">{number * step:g} ×</text>'
        for size in self._sizes:
            label = f'y="{_BOTTOM + 20}" text-anchor="middle" fill="#374151">{format_size(size)}</text>'
            yield f'<text x="{self.x(size):.1f}" {label}'


def _path(axes: _Axes, sizes: Sequence[int], factors: Sequence[float], color: str, dash: str) -> str:
    points = "L".join(f"{axes.x(size):.1f} {axes.y(factor):.1f}" for size, factor in zip(sizes, factors, strict=True))
    return f'<path d="M{points}" fill="none" {_stroke(color, dash)}/>'


def _label(row: int, text: str, color: str, dash: str) -> str:
    y = _TOP + row * _LINE_HEIGHT
    line = f'<path d="M{_LEGEND_X} {y}h22" {_stroke(color, dash)}/>'
    return f'{line}<text x="{_LEGEND_X + 30}" y="{y + 4}" fill="#111827">{escape(text)}</text>'


def _stroke(color: str, dash: str) -> str:
    return f'stroke="{color}" stroke-width="2"' + (f' stroke-dasharray="{dash}"' if dash else "")
