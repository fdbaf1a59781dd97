"""TAP as node:test and Test::More write it, and the bare loop over its lines."""

import re
from pathlib import Path
from typing import Final

from service.reports.streams.json import read_lines

SUFFIX: Final = ".tap"

_CASES_PER_SUITE: Final = 20
_TEST_POINT: Final = re.compile(r" *(not )?ok\b(?: (\d+))?(?: *-)? *([^#]*)(?:# *(SKIP|TODO)\b *(.*))?", re.IGNORECASE)
_STACK: Final = "\n".join(f"          at Test.run (file:///ci/shop/test/cart.js:{line}:9)" for line in range(10, 22))


def write_report(path: Path, cases: int) -> None:
    """Write subtests with 20 test points each. One in fifty fails with a stack, and one in forty is skipped."""
    with path.open("w", encoding="utf-8") as file:
        file.write("TAP version 13\n")
        suites = cases // _CASES_PER_SUITE
        for suite in range(suites):
            file.write(f"# Subtest: cart {suite}\n")
            file.writelines(_point(suite, number) for number in range(1, _CASES_PER_SUITE + 1))
            file.write(f"    1..{_CASES_PER_SUITE}\nok {suite + 1} - cart {suite}\n  ---\n  duration_ms: 41.5\n  ...\n")
        file.write(f"1..{suites}\n")


def _point(suite: int, number: int) -> str:
    case = suite * _CASES_PER_SUITE + number
    name = f"adds item {case} to the cart"
    start = f"    # Subtest: {name}\n"
    duration = f"      ---\n      duration_ms: {case % 997 / 100}\n"
    if case % 50 == 0:
        error = (
            f"      error: 'no stock of {case}'\n      expected: {case}\n      actual: 0\n      stack: |-\n{_STACK}\n"
        )
        return f"{start}    not ok {number} - {name}\n{duration}{error}      ...\n"
    directive = " # SKIP no database" if case % 40 == 0 else ""
    return f"{start}    ok {number} - {name}{directive}\n{duration}      ...\n"


def bare_loop(path: Path) -> None:
    """Decode the file, and match each line with the pattern of a test point, because TAP has no parser of its own."""
    with path.open("rb") as source:
        for line in read_lines(source):
            _TEST_POINT.match(line)
