"""JSON reports of Jest."""

import json
from pathlib import Path
from typing import Any, Final

from service.reports.streams.json import JsonStream

SUFFIX: Final = ".json"

_CASES_PER_FILE: Final = 100
_START_MS: Final = 1_779_278_400_000
_ERROR: Final = (
    "Error: \x1b[2mexpect(\x1b[22m\x1b[31mreceived\x1b[39m\x1b[2m).\x1b[22mtoBe\x1b[2m(\x1b[22m\x1b[32mexpected"
    "\x1b[39m\x1b[2m)\x1b[22m\n\nExpected: \x1b[32m7\x1b[39m\nReceived: \x1b[31m8\x1b[39m\n"
) + "\n".join(f"    at Object.total (/ci/shop/src/cart.js:{line}:19)" for line in range(40, 52))
_COUNTS: Final = {"numFailedTestSuites": 0, "numRuntimeErrorTestSuites": 0, "startTime": _START_MS, "success": False}


def write_report(path: Path, cases: int) -> None:
    """Write a report with 100 tests per file; one test in fifty fails."""
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(_COUNTS)[:-1] + ',"testResults":[')
        for number in range(cases // _CASES_PER_FILE):
            tests = [_test(number, case) for case in range(_CASES_PER_FILE)]
            file.write("," if number else "")
            json.dump(_file(number, tests), file, ensure_ascii=False, separators=(",", ":"))
        file.write('],"wasInterrupted":false}')


def bare_loop(path: Path) -> None:
    """Read each test as one value."""
    with path.open("rb") as file:
        stream = JsonStream(file)
        for key in stream.members():
            if key != "testResults":
                stream.value()
                continue
            for _ in stream.elements():
                _read_file(stream)


def _read_file(stream: JsonStream) -> None:
    for key in stream.members():
        if key != "assertionResults":
            stream.value()
            continue
        for _ in stream.elements():
            stream.value()


def _file(number: int, tests: list[Any]) -> dict[str, Any]:
    return {
        "assertionResults": tests,
        "endTime": _START_MS + number + 900,
        "message": f"  ● cart {number} › adds\n\n{_ERROR}",
        "name": f"/ci/shop/src/cart{number}.test.js",
        "startTime": _START_MS + number,
        "status": "failed",
        "summary": "",
    }


def _test(number: int, case: int) -> dict[str, Any]:
    titles, title = [f"cart {number}", "totals — Σ"], f"adds {case} items [{case % 7}, {case % 3}]"
    failed = case % 50 == 0
    return {
        "ancestorTitles": titles,
        "duration": case % 97,
        "failing": False,
        "failureDetails": [{"matcherResult": {"actual": 8, "expected": 7, "message": _ERROR}}] if failed else [],
        "failureMessages": [_ERROR] if failed else [],
        "fullName": " ".join((*titles, title)),
        "invocations": 1,
        "location": {"column": 5, "line": case + 1},
        "numPassingAsserts": 1,
        "retryMessages": [],
        "retryReasons": [],
        "startAt": _START_MS + case,
        "status": "failed" if failed else "passed",
        "title": title,
    }
