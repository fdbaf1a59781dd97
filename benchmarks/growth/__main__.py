"""Growth of time and size with the data, the processes, and the webhooks.

    python -m benchmarks.growth [--steps 1 10 50] [--only results months] [--folder DIR] [--plots docs/growth]

Limit: no CPU time, number of buffers, size, or memory grows by more than 0.25 of its first value per tenfold size,
which is a logarithm, plus 0.15 of the first value for the noise of the measurement. Otherwise, the exit code is 1.

The results are generated in PostgreSQL: runs of 40 to 5,000 results in two years, a Zipf distribution over cases and
organizations, and 3 % failures. 50 M results need 20 GB of disk space and 15 minutes. With --folder, the databases
remain, and the next run uses them again.
"""

import argparse
from pathlib import Path

from benchmarks.growth.dimensions import DIMENSIONS, Plan
from benchmarks.growth.limits import GrowthTable
from benchmarks.growth.plots import draw_chart
from benchmarks.growth.stores import server
from benchmarks.growth.tables import format_table


def main() -> None:
    """Measure the dimensions, print their tables, and write their charts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", nargs="+", type=float, default=[1, 10, 50], metavar="M", help="millions of results")
    parser.add_argument("--only", nargs="+", choices=DIMENSIONS, default=list(DIMENSIONS), metavar="DIMENSION",
                        help=f"default: {' '.join(DIMENSIONS)}")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each measurement")
    parser.add_argument("--folder", type=Path, help="folder of the databases, which remain; default: a temporary one")
    parser.add_argument("--plots", type=Path, help="folder for the charts")
    arguments = parser.parse_args()
    exceeded = []
    with server(arguments.folder) as running:
        plan = Plan(running, [int(step * 1_000_000) for step in sorted(arguments.steps)], arguments.rounds)
        for dimension in arguments.only:
            for table in DIMENSIONS[dimension](plan):
                print(f"\n{format_table(table)}", flush=True)
                exceeded += _exceeded(table)
                if arguments.plots:
                    _write_chart(table, arguments.plots)
    if exceeded:
        raise SystemExit("\n".join(["faster than the limit:", *exceeded]))


def _write_chart(table: GrowthTable, folder: Path) -> None:
    """Write the chart of a table, if it has one and more than one size."""
    if table.plot and len(table.rows[0].values) > 1:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{table.plot}.svg").write_text(draw_chart(table))


def _exceeded(table: GrowthTable) -> list[str]:
    """Return the rows that grow faster than the limit."""
    return [f"{table.title}: {row.name}" for row in table.rows if table.is_checked and not row.is_limited]


if __name__ == "__main__":
    main()
