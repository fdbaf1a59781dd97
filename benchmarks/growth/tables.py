"""Markdown tables of the measured growth."""

from benchmarks.growth.limits import NOISE, GrowthTable, limit


def format_table(table: GrowthTable) -> str:
    """Return a table with a column for each size, and the last factor with its limit if the table is checked."""
    sizes = list(table.rows[0].values)
    head = ["", *map(format_size, sizes), "factor", *(["limit"] if table.is_checked else [])]
    lines = [f"**{table.title}**", "", _line(head), _line(["---"] * len(head))]
    for row in table.rows:
        cells = [row.name, *map(_format_value, row.values.values()), _format_factor(row.factors[sizes[-1]])]
        if table.is_checked:
            mark = "" if row.is_limited else " exceeded"
            cells.append(f"{limit(sizes[0], sizes[-1]) + NOISE:.2f}{mark}")
        lines.append(_line(cells))
    return "\n".join(lines)


def format_size(size: int) -> str:
    """Return a size such as `50 M` or `20,000`."""
    return f"{size // 1_000_000} M" if size >= 1_000_000 and size % 1_000_000 == 0 else f"{size:,}"


def _format_value(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _format_factor(factor: float) -> str:
    return f"{factor:.2f}" if factor >= 0.1 else f"{factor:.1g}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
