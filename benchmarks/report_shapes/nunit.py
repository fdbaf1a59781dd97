"""Reports of NUnit 3 for benchmarks.reports."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import iterparse

SUFFIX: Final = ".xml"
_CASES_PER_FIXTURE: Final = 100
_TIMES: Final = 'start-time="2026-05-20 12:00:00Z" end-time="2026-05-20 12:00:01Z"'
_TRACE: Final = "\n".join(f"   at Shop.Cart.Total() in /_/src/Shop/Cart.cs:line {line}" for line in range(40, 52))


def write_report(path: Path, cases: int) -> None:
    """Write fixtures with 100 cases each; one case in fifty fails."""
    with path.open("w", encoding="utf-8") as file:
        file.write(
            f'<?xml version="1.0" encoding="utf-8"?>\n<test-run id="2" total="{cases}" {_TIMES} duration="9.5">\n'
        )
        file.write('<test-suite type="Assembly" name="Shop.Tests.dll" fullname="/ci/Shop.Tests.dll">\n')
        for fixture, first in enumerate(range(0, cases, _CASES_PER_FIXTURE)):
            file.writelines(_fixture(fixture, range(first, min(first + _CASES_PER_FIXTURE, cases))))
        file.write("</test-suite></test-run>\n")


def bare_loop(path: Path) -> None:
    """Free each element of the report."""
    for _, element in iterparse(path):
        element.clear()


def _fixture(fixture: int, cases: range) -> Iterator[str]:
    name = f"Shop.Tests.Cart{fixture}Tests"
    yield f'<test-suite type="TestFixture" name="Cart{fixture}Tests" fullname="{name}" classname="{name}" {_TIMES}>\n'
    yield from (_case(name, case) for case in cases)
    yield "</test-suite>\n"


def _case(fixture: str, case: int) -> str:
    """Return a case with a parameter."""
    method = f"Adds({case},&quot;apple&quot;)"
    attributes = (
        f'id="0-{case}" name="{method}" fullname="{fixture}.{method}" methodname="Adds" classname="{fixture}"'
        f' runstate="Runnable" seed="{case}" {_TIMES} duration="0.{case % 997:06}" asserts="1"'
    )
    if case % 50:
        return f'<test-case {attributes} result="Passed" />\n'
    failure = f"<message><![CDATA[  Expected: 7\n  But was:  {case}\n]]></message><stack-trace>{_TRACE}</stack-trace>"
    return (
        f'<test-case {attributes} result="Failed"><failure>{failure}</failure>'
        "<output><![CDATA[loading the price list\n]]></output></test-case>\n"
    )
