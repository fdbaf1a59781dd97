"""JUnit XML to native results, against a bare `xml.etree.ElementTree.iterparse` loop over the same file.

    python -m benchmarks.reports [--cases 200000]

Budget: 0.4 of the bare loop, in cases per second, for the file that mixes the shapes. Ours reads, judges
and writes the results out; the loop does nothing but free each element. Beside it, the same file from its
upload to its last row in PostgreSQL, by the clock.
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

BUDGET: Final = 0.4
ROUNDS: Final = 5
CASES_PER_SUITE: Final = 100

TRACEBACK: Final = "\n".join(f'  File "shop/cart.py", line {line}, in total' for line in range(40, 52))
OUTPUT: Final = "\n".join(f"2026-05-20 12:00:0{second} [INFO] shop.cart: adding item" for second in range(8))


def pytest_case(suite: int, case: int) -> str:
    """One line, and one case in fifty that fails."""
    start = (
        f'<testcase classname="tests.test_{suite}.TestCart" name="test_adds[{case}-€]" time="{case % 997 / 1000:.3f}"'
    )
    if case % 50:
        return start + " />"
    return f'{start}><failure message="AssertionError: assert {case} == 7">{TRACEBACK}</failure></testcase>'


def gotestsum_case(suite: int, case: int) -> str:
    """Six decimals, start and end tag."""
    return (
        f'\t\t<testcase classname="example.org/shop/cart{suite}" name="TestAdds/{case}"'
        f' time="{case % 8191 / 1e6:.6f}"></testcase>\n'
    )


def surefire_case(suite: int, case: int) -> str:
    """With output, as servers are tested; one case in fifty passed when it was run again."""
    again = "" if case % 50 else f'<flakyFailure message="timeout"><stackTrace>{TRACEBACK}</stackTrace></flakyFailure>'
    return (
        f'  <testcase name="adds{case}" classname="org.example.shop.Cart{suite}Test" time="{case % 500 / 100}">{again}'
        f"<system-out><![CDATA[{OUTPUT}]]></system-out></testcase>\n"
    )


SHAPES: Final[dict[str, tuple[Callable[[int, int], str], ...]]] = {
    "pytest": (pytest_case,),
    "gotestsum": (gotestsum_case,),
    "surefire": (surefire_case,),
    "mixed": (pytest_case, gotestsum_case, surefire_case),
}


def write_report(path: Path, shapes: tuple[Callable[[int, int], str], ...], cases: int) -> None:
    """A file of suites of a hundred cases each, of one shape after the other."""
    with path.open("w", encoding="utf-8") as file:
        file.write('<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n')
        for suite in range(cases // CASES_PER_SUITE):
            shape = shapes[suite % len(shapes)]
            file.write(f'<testsuite name="suite {suite}" tests="{CASES_PER_SUITE}" timestamp="2026-05-20T12:00:00Z">\n')
            file.writelines(shape(suite, case) for case in range(CASES_PER_SUITE))
            file.write("</testsuite>\n")
        file.write("</testsuites>\n")


def bare_loop(path: Path) -> None:
    """What the budget is measured against."""
    for _event, element in iterparse(path):
        element.clear()


def our_conversion(path: Path) -> None:
    """What a worker does with a report before it is ingested."""
    convert(path, path.with_suffix(".results"))


def fastest_s(path: Path, *works: Callable[[Path], None]) -> list[float]:
    """Seconds of CPU that each takes at best, in turns: so that neighbours on the machine slow down neither."""
    rounds = [[_timed(work, path) for work in works] for _ in range(ROUNDS)]
    return [min(times) for times in zip(*rounds, strict=True)]


def _timed(work: Callable[[Path], None], path: Path) -> float:
    started = time.process_time()
    work(path)
    return time.process_time() - started


def peak_growth_mib(path: Path) -> float:
    """By how much a fresh child grows while it converts the file."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    our_conversion(path)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def measure(folder: Path, cases: int) -> Iterable[tuple[str, float]]:
    """The name and ratio of each shape, after its line is printed."""
    print(f"{'shape':<10} {'MB':>6} {'iterparse':>11} {'ours':>11} {'ratio':>6}  grows by (cases per second of CPU)")
    for name, shapes in SHAPES.items():
        path = folder / f"{name}.xml"
        write_report(path, shapes, cases)
        with ProcessPoolExecutor(1) as child:
            grown = child.submit(peak_growth_mib, path).result()
        bare, ours = fastest_s(path, bare_loop, our_conversion)
        size = path.stat().st_size / 1e6
        rates = f"{cases / bare:>11,.0f} {cases / ours:>11,.0f} {bare / ours:>6.2f}"
        print(f"{name:<10} {size:>6.0f} {rates} {grown:>5.0f} MiB")
        yield name, bare / ours


def main() -> None:
    """Prints the table, and fails where the mixed file is below the budget."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--cases", type=int, default=200_000)
    cases = arguments.parse_args().cases
    with tempfile.TemporaryDirectory(prefix="zof-results-benchmark-") as folder:
        ratios = dict(measure(Path(folder), cases))
        stored = stored_per_s(Path(folder) / "mixed.xml", cases)
    print(f"mixed, from upload to the last row stored: {stored:,.0f} cases/s")
    verdict = "within" if ratios["mixed"] >= BUDGET else "BELOW"
    print(f"mixed: {ratios['mixed']:.2f} of iterparse, {verdict} the budget of {BUDGET}")
    raise SystemExit(ratios["mixed"] < BUDGET)


if __name__ == "__main__":
    main()
