"""Reports of xUnit.net 2 for benchmarks.reports."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import iterparse

SUFFIX: Final = ".xml"
_TESTS_PER_CLASS: Final = 100
_TRACE: Final = "\n".join(f"   at Shop.Cart.Total() in /_/src/Shop/Cart.cs:line {line}" for line in range(40, 52))
_ASSEMBLY: Final = (
    'name="/ci/Shop.Tests.dll" test-framework="xUnit.net 2.9.3" run-date="2026-05-20" run-time="12:00:00"'
)


def write_report(path: Path, cases: int) -> None:
    """Write collections with 100 tests each; one test in fifty fails."""
    with path.open("w", encoding="utf-8") as file:
        file.write(f'<?xml version="1.0" encoding="utf-8"?>\n<assemblies><assembly {_ASSEMBLY} total="{cases}">\n')
        for number, first in enumerate(range(0, cases, _TESTS_PER_CLASS)):
            file.writelines(_collection(number, range(first, min(first + _TESTS_PER_CLASS, cases))))
        file.write("</assembly></assemblies>\n")


def bare_loop(path: Path) -> None:
    """Free each element of the report."""
    for _, element in iterparse(path):
        element.clear()


def _collection(number: int, tests: range) -> Iterator[str]:
    class_name = f"Shop.Tests.Cart{number}Tests"
    yield f'<collection name="Test collection for {class_name}" total="{len(tests)}" time="1.5">\n'
    yield from (_test(class_name, test) for test in tests)
    yield "</collection>\n"


def _test(class_name: str, test: int) -> str:
    """Return a test with a parameter; one test in four has a trait."""
    attributes = (
        f'name="{class_name}.Adds(count: {test}, fruit: \\&quot;apple\\&quot;)" type="{class_name}" method="Adds"'
        f' time="0.{test % 997:07}"'
    )
    traits = "" if test % 4 else '<traits><trait name="Category" value="fast" /></traits>'
    if test % 50:
        return f'<test {attributes} result="Pass">{traits}</test>\n'
    failure = f"<message><![CDATA[Assert.Equal() Failure\\nExpected: 7\\nActual: {test}]]></message>"
    return (
        f'<test {attributes} result="Fail"><failure exception-type="Xunit.Sdk.EqualException">{failure}'
        f"<stack-trace><![CDATA[{_TRACE}]]></stack-trace></failure><output>loading the price list\n</output>"
        f"{traits}</test>\n"
    )
