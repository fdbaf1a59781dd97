"""Conversion of reports to native results, compared with a bare loop of the parser over the same bytes.

    python -m benchmarks.reports [--cases 200000] [--format junit]

Budget: 0.4 of the bare loop, in cases per second of CPU time, for each format except TAP, which has no parser of its
own. For JUnit XML, the budget applies to the file with mixed dialects. The conversion parses, evaluates, and writes the
results; the bare loop only parses and frees. `growth` is the growth of the memory of a process that converts the
report. The benchmark also measures the wall-clock time from the upload of the mixed file to its last row in PostgreSQL.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple

from benchmarks.report_shapes import (
    allure,
    cucumber,
    jest,
    junit,
    mochawesome,
    nunit,
    pytest_json,
    robot,
    tap,
    testng,
    xunit,
)
from benchmarks.stored_reports import stored_per_s
from service.reports.conversion.convert import convert
from service.reports.conversion.output import OutputWriter

BUDGET: Final = 0.4
ROUNDS: Final = 5
MIXED: Final = "junit mixed"


class Shape(NamedTuple):
    """A kind of report: the suffix of its files, a writer for a number of cases, and the bare loop of its parser."""

    suffix: str
    write: Callable[[Path, int], None]
    bare_loop: Callable[[Path], None]


_MODULES: Final[tuple[ModuleType, ...]] = (
    allure, cucumber, jest, mochawesome, nunit, pytest_json, robot, tap, testng, xunit,
)  # fmt: skip
SHAPES: Final[dict[str, Shape]] = {
    **{
        f"junit {dialect}": Shape(".xml", partial(junit.write_report, dialect=dialect), junit.bare_loop)
        for dialect in junit.DIALECTS
    },
    **{
        module.__name__.rpartition(".")[2]: Shape(module.SUFFIX, module.write_report, module.bare_loop)
        for module in _MODULES
    },
}
# The lines of TAP are matched in a few microseconds per case: the budget would leave no time to write the results.
_WITHOUT_BUDGET: Final = frozenset({"tap", *(f"junit {dialect}" for dialect in junit.DIALECTS)}) - {MIXED}
BUDGETED: Final = [name for name in SHAPES if name not in _WITHOUT_BUDGET]


def run_conversion(path: Path) -> None:
    """Convert the report as a parser process does."""
    with path.with_suffix(".output").open("wb") as output:
        convert(path, path.with_suffix(".results"), output=OutputWriter(output))


def fastest_s(path: Path, *functions: Callable[[Path], None]) -> list[float]:
    """Return the least CPU seconds of each function. The rounds alternate, so that other load affects all equally."""
    rounds = [[_timed(function, path) for function in functions] for _ in range(ROUNDS)]
    return [min(times) for times in zip(*rounds, strict=True)]


def _timed(function: Callable[[Path], None], path: Path) -> float:
    started = time.process_time()
    function(path)
    return time.process_time() - started


def peak_growth_mib(path: Path) -> float:
    """Return the growth of a new child process while it converts the file."""
    before = _peak_mib()
    run_conversion(path)
    return _peak_mib() - before


def _peak_mib() -> float:
    """Return the peak memory of this process. `ru_maxrss` can contain that of the process that started it."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def measure(folder: Path, cases: int, selected: str) -> Iterator[tuple[str, float]]:
    """Print a line per shape whose name starts with `selected`, and yield its name and ratio."""
    print(f"{'report':<17} {'MB':>6} {'bare loop':>11} {'converter':>11} {'ratio':>6}  growth (cases per CPU second)")
    for name, shape in SHAPES.items():
        if not name.startswith(selected):
            continue
        path = folder / f"{name}{shape.suffix}"
        shape.write(path, cases)
        with ProcessPoolExecutor(1) as child:
            grown = child.submit(peak_growth_mib, path).result()
        bare, conversion = fastest_s(path, shape.bare_loop, run_conversion)
        size = path.stat().st_size / 1e6
        rates = f"{cases / bare:>11,.0f} {cases / conversion:>11,.0f} {bare / conversion:>6.2f}"
        print(f"{name:<17} {size:>6.0f} {rates} {grown:>5.0f} MiB")
        yield name, bare / conversion
        if name != MIXED:
            path.unlink()


def main() -> None:
    """Print the table, and exit with 1 if a format is below the budget."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--cases", type=int, default=200_000)
    arguments.add_argument("--format", default="", help="Only the reports whose name starts with this text.")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="zof-results-benchmark-") as folder:
        ratios = dict(measure(Path(folder), given.cases, given.format))
        if MIXED in ratios:
            stored = stored_per_s(Path(folder) / f"{MIXED}.xml", given.cases)
            print(f"{MIXED}, from upload to the last row stored: {stored:,.0f} cases/s")
    below = [name for name in BUDGETED if ratios.get(name, BUDGET) < BUDGET]
    for name in BUDGETED:
        if name in ratios:
            comparison = "BELOW" if name in below else "within"
            print(f"{name}: {ratios[name]:.2f} of the bare loop, {comparison} the budget of {BUDGET}")
    raise SystemExit(bool(below))


if __name__ == "__main__":
    main()
