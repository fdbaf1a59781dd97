"""The limit of growth: a logarithm."""

from math import log10
from typing import Final, NamedTuple

SLOPE: Final = 0.25  # the share of the first value that each tenfold size can add
NOISE: Final = 0.15  # the share of the first value by which two measurements of the same size can differ


class Growth(NamedTuple):
    """A measured value by size, such as ms per page by the number of results. The first size is the smallest."""

    name: str
    values: dict[int, float]

    @property
    def factors(self) -> dict[int, float]:
        """The values relative to the first one."""
        first = next(iter(self.values.values()))
        return {size: value / first for size, value in self.values.items()}

    @property
    def is_limited(self) -> bool:
        """Whether no value is above the limit."""
        first = next(iter(self.values))
        return all(factor <= limit(first, size) + NOISE for size, factor in self.factors.items())


class GrowthTable(NamedTuple):
    """Values with the same unit and the same sizes. `plot` is the name of its chart, if it has one."""

    title: str
    rows: list[Growth]
    is_checked: bool = True
    plot: str | None = None


def limit(first: int, size: int) -> float:
    """Return the factor by which a value can grow between two sizes, without noise."""
    return 1 + SLOPE * log10(size / first)
