"""Reports of TestNG 7 for benchmarks.reports."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import iterparse

SUFFIX: Final = ".xml"
_METHODS_PER_CLASS: Final = 100
_TIMES: Final = 'started-at="2026-05-20T12:00:00 UTC" finished-at="2026-05-20T12:00:01 UTC"'
_TRACE: Final = "\n".join(f"at shop.Cart.total(Cart.java:{line})" for line in range(40, 52))


def write_report(path: Path, cases: int) -> None:
    """Write classes with 100 executions each; one execution in fifty fails."""
    with path.open("w", encoding="utf-8") as file:
        file.write(f'<?xml version="1.0" encoding="UTF-8"?>\n<testng-results total="{cases}">\n')
        file.write(f'  <suite name="Shop" duration-ms="9500" {_TIMES}>\n    <test name="Default test" {_TIMES}>\n')
        for number, first in enumerate(range(0, cases, _METHODS_PER_CLASS)):
            file.writelines(_class(number, range(first, min(first + _METHODS_PER_CLASS, cases))))
        file.write("    </test>\n  </suite>\n</testng-results>\n")


def bare_loop(path: Path) -> None:
    """Free each element of the report."""
    for _, element in iterparse(path):
        element.clear()


def _class(number: int, executions: range) -> Iterator[str]:
    name = f"shop.Cart{number}Test"
    yield f'      <class name="{name}">\n'
    yield from (_execution(name, execution) for execution in executions)
    yield f"      </class> <!-- {name} -->\n"


def _execution(class_name: str, execution: int) -> str:
    """Return an execution with two parameters."""
    start = (
        f'        <test-method signature="adds(int,java.lang.String)[pri:0, instance:{class_name}@731a74c]" {_TIMES}'
        f' name="adds" data-provider="fruit" duration-ms="{execution % 997}"'
    )
    params = "".join(
        f'            <param index="{index}">\n              <value>\n                <![CDATA[{value}]]>\n'
        "              </value>\n            </param>\n"
        for index, value in enumerate((execution, "apple"))
    )
    params = f"          <params>\n{params}          </params>\n"
    end = "          <reporter-output>\n          </reporter-output>\n        </test-method> <!-- adds -->\n"
    if execution % 50:
        return f'{start} status="PASS">\n{params}{end}'
    message = f"            <message>\n              <![CDATA[total is {execution}]]>\n            </message>\n"
    exception = (
        f'          <exception class="java.lang.AssertionError">\n{message}            <full-stacktrace>\n'
        f"              <![CDATA[{_TRACE}]]>\n            </full-stacktrace>\n          </exception>\n"
    )
    return f'{start} status="FAIL">\n{params}{exception}{end}'
