"""An output.xml of Robot Framework 7: tests with nested keywords, most of which pass."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import iterparse

SUFFIX: Final = ".xml"
_TESTS_PER_SUITE: Final = 100
_START: Final = 'start="2026-05-20T12:00:00.123456" elapsed="0.001234"'
_TIME: Final = 'time="2026-05-20T12:00:00.123456"'


def write_report(path: Path, cases: int) -> None:
    """Write a file of suites with 100 tests each."""
    with path.open("w", encoding="utf-8") as file:
        file.write('<?xml version="1.0" encoding="UTF-8"?>\n<robot generator="Robot 7.5" schemaversion="5">\n')
        file.write('<suite id="s1" name="Shop" source="/builds/shop/tests">\n')
        for suite in range(-(-cases // _TESTS_PER_SUITE)):
            numbers = range(suite * _TESTS_PER_SUITE, min((suite + 1) * _TESTS_PER_SUITE, cases))
            file.write(f'<suite id="s1-s{suite}" name="Cart {suite}" source="/builds/shop/tests/cart_{suite}.robot">\n')
            file.writelines(map(_test, numbers))
            file.write(f'<status status="FAIL" {_START}/>\n</suite>\n')
        failed = len(range(0, cases, 50))
        total = f'<stat pass="{cases - failed}" fail="{failed}" skip="0">All Tests</stat>'
        file.write(f'<status status="FAIL" {_START}/>\n</suite>\n<statistics><total>{total}</total></statistics>')
        file.write("<errors></errors>\n</robot>\n")


def bare_loop(path: Path) -> None:
    """Run the loop that the budget refers to."""
    for _event, element in iterparse(path):
        element.clear()


def _test(number: int) -> str:
    """Return a test with a loop in a user keyword; one test in fifty fails."""
    status = "PASS" if number % 50 else "FAIL"
    message = "" if status == "PASS" else f"total of {number} differs: 1 != 2"
    steps = "".join(_keywords(number, status, message))
    return (
        f'<test id="s1-t{number}" name="Adds {number} Items" line="{number % 900 + 1}">\n{steps}'
        f'<tag>cart</tag>\n<tag>smoke</tag>\n<status status="{status}" {_START}>{message}</status>\n</test>\n'
    )


def _keywords(number: int, status: str, message: str) -> Iterator[str]:
    yield _keyword("Open Session", "PASS", "INFO", f"session {number} is open", "https://shop.example", "chrome")
    yield '<kw name="Pay">\n<for flavor="IN">\n'
    for item in range(2):
        yield f"<iter>\n{_keyword('Add Item', 'PASS', 'INFO', f'item {item} is in the cart', '${item}')}"
        yield f'<var name="${{item}}">{item}</var>\n<status status="PASS" {_START}/>\n</iter>\n'
    yield f'<var>${{item}}</var>\n<value>@{{items}}</value>\n<status status="PASS" {_START}/>\n</for>\n'
    level = "FAIL" if message else "INFO"
    yield _keyword("Should Be Equal", status, level, message or "Argument types are equal", "${total}", "2")
    yield f'<arg>{number}</arg>\n<status status="{status}" {_START}>{message}</status>\n</kw>\n'


def _keyword(name: str, status: str, level: str, text: str, *arguments: str) -> str:
    listed = "".join(f"<arg>{argument}</arg>\n" for argument in arguments)
    return (
        f'<kw name="{name}" owner="ShopLibrary">\n<msg {_TIME} level="{level}">{text}</msg>\n{listed}'
        f'<doc>Does a step of a test of the shop.</doc>\n<status status="{status}" {_START}/>\n</kw>\n'
    )
