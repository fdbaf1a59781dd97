"""Conversion of JUnit XML to native results, compared with a bare `xml.etree.ElementTree.iterparse` loop.

    python -m benchmarks.reports [--cases 200000]

Budget: 0.4 of the bare loop, in cases per second, for the mixed file. The conversion parses, evaluates, and writes the
results; the loop only frees each element. The benchmark also measures the wall-clock time from the upload of the same
file to its last row in PostgreSQL.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import iterparse

from benchmarks.stored_reports import stored_per_s
from service.reports.convert import convert
from service.reports.output import OutputWriter

BUDGET: Final = 0.4
ROUNDS: Final = 5
CASES_PER_SUITE: Final = 100

TRACEBACK: Final = "\n".join(f'  File "shop/cart.py", line {line}, in total' for line in range(40, 52))
OUTPUT: Final = "\n".join(f"2026-05-20 12:00:0{second} [INFO] shop.cart: adding item" for second in range(8))


def pytest_case(suite: int, case: int) -> str:
    """Return a case in one line; one case in fifty fails."""
    start = (
        f'<testcase classname="tests.test_{suite}.TestCart" name="test_adds[{case}-€]" time="{case % 997 / 1000:.3f}"'
    )
    if case % 50:
        return start + " />"
    return f'{start}><failure message="AssertionError: assert {case} == 7">{TRACEBACK}</failure></testcase>'


def gotestsum_case(suite: int, case: int) -> str:
    """Return a case with six decimals, a start tag, and an end tag."""
    return (
        f'\t\t<testcase classname="example.org/shop/cart{suite}" name="TestAdds/{case}"'
        f' time="{case % 8191 / 1e6:.6f}"></testcase>\n'
    )


def surefire_case(suite: int, case: int) -> str:
    """Return a case with output, as in tests of servers; one case in fifty passed after a retry."""
    retry = "" if case % 50 else f'<flakyFailure message="timeout"><stackTrace>{TRACEBACK}</stackTrace></flakyFailure>'
    return (
        f'  <testcase name="adds{case}" classname="org.example.shop.Cart{suite}Test" time="{case % 500 / 100}">{retry}'
        f"<system-out><![CDATA[{OUTPUT}]]></system-out></testcase>\n"
    )


def properties_case(suite: int, case: int) -> str:
    """Return a case with three properties, as pytest writes them for `record_property`."""
    values = {"issue": f"SHOP-{case}", "owner": "team-cart", "requirement": f"R{suite}.{case}"}
    properties = "".join(f'<property name="{name}" value="{value}" />' for name, value in values.items())
    return (
        f'<testcase classname="tests.test_{suite}.TestCart" name="test_adds[{case}]" time="0.001">'
        f"<properties>{properties}</properties></testcase>"
    )


def failing_case(suite: int, case: int) -> str:
    """Return a case with output; one case in five fails, so that its output is stored."""
    failure = "" if case % 5 else f'<failure message="no stock">{TRACEBACK}</failure>'
    return (
        f'  <testcase name="adds{case}" classname="org.example.shop.Cart{suite}Test" time="0.1">{failure}'
        f"<system-out><![CDATA[{OUTPUT}]]></system-out></testcase>\n"
    )


SHAPES: Final[dict[str, tuple[Callable[[int, int], str], ...]]] = {
    "pytest": (pytest_case,),
    "gotestsum": (gotestsum_case,),
    "surefire": (surefire_case,),
    "properties": (properties_case,),
    "output": (failing_case,),
    "mixed": (pytest_case, gotestsum_case, surefire_case),
}


def write_report(path: Path, shapes: tuple[Callable[[int, int], str], ...], cases: int) -> None:
    """Write a file of suites with 100 cases each, which alternate between the shapes."""
    with path.open("w", encoding="utf-8") as file:
        file.write('<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n')
        for suite in range(cases // CASES_PER_SUITE):
            shape = shapes[suite % len(shapes)]
            file.write(f'<testsuite name="suite {suite}" tests="{CASES_PER_SUITE}" timestamp="2026-05-20T12:00:00Z">\n')
            file.writelines(shape(suite, case) for case in range(CASES_PER_SUITE))
            file.write("</testsuite>\n")
        file.write("</testsuites>\n")


def bare_loop(path: Path) -> None:
    """Run the loop that the budget refers to."""
    for _event, element in iterparse(path):
        element.clear()


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
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run_conversion(path)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def measure(folder: Path, cases: int) -> Iterable[tuple[str, float]]:
    """Print a line per shape, and yield its name and ratio."""
    print(f"{'shape':<10} {'MB':>6} {'iterparse':>11} {'converter':>11} {'ratio':>6}  growth (cases per CPU second)")
    for name, shapes in SHAPES.items():
        path = folder / f"{name}.xml"
        write_report(path, shapes, cases)
        with ProcessPoolExecutor(1) as child:
            grown = child.submit(peak_growth_mib, path).result()
        bare, conversion = fastest_s(path, bare_loop, run_conversion)
        size = path.stat().st_size / 1e6
        rates = f"{cases / bare:>11,.0f} {cases / conversion:>11,.0f} {bare / conversion:>6.2f}"
        print(f"{name:<10} {size:>6.0f} {rates} {grown:>5.0f} MiB")
        yield name, bare / conversion


def main() -> None:
    """Print the table, and exit with 1 if the mixed file is below the budget."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--cases", type=int, default=200_000)
    cases = arguments.parse_args().cases
    with tempfile.TemporaryDirectory(prefix="zof-results-benchmark-") as folder:
        ratios = dict(measure(Path(folder), cases))
        stored = stored_per_s(Path(folder) / "mixed.xml", cases)
    print(f"mixed, from upload to the last row stored: {stored:,.0f} cases/s")
    comparison = "within" if ratios["mixed"] >= BUDGET else "BELOW"
    print(f"mixed: {ratios['mixed']:.2f} of iterparse, {comparison} the budget of {BUDGET}")
    raise SystemExit(ratios["mixed"] < BUDGET)


if __name__ == "__main__":
    main()
