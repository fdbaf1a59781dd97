"""JUnit XML in the dialects of several producers."""

from collections.abc import Callable
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import iterparse

_PER_SUITE: Final = 100

_TRACEBACK: Final = "\n".join(f'  File "shop/cart.py", line {line}, in total' for line in range(40, 52))
_OUTPUT: Final = "\n".join(f"2026-05-20 12:00:0{second} [INFO] shop.cart: adding item" for second in range(8))


def pytest_case(suite: int, case: int) -> str:
    """Return a case in one line; one case in fifty fails."""
    start = (
        f'<testcase classname="tests.test_{suite}.TestCart" name="test_adds[{case}-€]" time="{case % 997 / 1000:.3f}"'
    )
    if case % 50:
        return start + " />"
    return f'{start}><failure message="AssertionError: assert {case} == 7">{_TRACEBACK}</failure></testcase>'


def gotestsum_case(suite: int, case: int) -> str:
    """Return a case with six decimals, a start tag, and an end tag."""
    return (
        f'\t\t<testcase classname="example.org/shop/cart{suite}" name="TestAdds/{case}"'
        f' time="{case % 8191 / 1e6:.6f}"></testcase>\n'
    )


def surefire_case(suite: int, case: int) -> str:
    """Return a case with output, as in tests of servers; one case in fifty passed after a retry."""
    retry = "" if case % 50 else f'<flakyFailure message="timeout"><stackTrace>{_TRACEBACK}</stackTrace></flakyFailure>'
    return (
        f'  <testcase name="adds{case}" classname="org.example.shop.Cart{suite}Test" time="{case % 500 / 100}">{retry}'
        f"<system-out><![CDATA[{_OUTPUT}]]></system-out></testcase>\n"
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
    failure = "" if case % 5 else f'<failure message="no stock">{_TRACEBACK}</failure>'
    return (
        f'  <testcase name="adds{case}" classname="org.example.shop.Cart{suite}Test" time="0.1">{failure}'
        f"<system-out><![CDATA[{_OUTPUT}]]></system-out></testcase>\n"
    )


DIALECTS: Final[dict[str, tuple[Callable[[int, int], str], ...]]] = {
    "pytest": (pytest_case,),
    "gotestsum": (gotestsum_case,),
    "surefire": (surefire_case,),
    "properties": (properties_case,),
    "output": (failing_case,),
    "mixed": (pytest_case, gotestsum_case, surefire_case),
}


def write_report(path: Path, cases: int, dialect: str = "mixed") -> None:
    """Write a file of suites with 100 cases each, which alternate between the shapes of the dialect."""
    shapes = DIALECTS[dialect]
    with path.open("w", encoding="utf-8") as file:
        file.write('<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n')
        for suite in range(cases // _PER_SUITE):
            shape = shapes[suite % len(shapes)]
            file.write(f'<testsuite name="suite {suite}" tests="{_PER_SUITE}" timestamp="2026-05-20T12:00:00Z">\n')
            file.writelines(shape(suite, case) for case in range(_PER_SUITE))
            file.write("</testsuite>\n")
        file.write("</testsuites>\n")


def bare_loop(path: Path) -> None:
    """Parse the file, and free each element."""
    for _event, element in iterparse(path):
        element.clear()
