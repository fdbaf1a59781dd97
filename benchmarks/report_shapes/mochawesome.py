"""JSON reports of mochawesome."""

import json
from pathlib import Path
from typing import Any, Final

from service.reports.streams.json import JsonStream

SUFFIX: Final = ".json"

_CASES_PER_SUITE: Final = 100
_CODE: Final = "const cart = new Cart();\ncart.add({ sku: 7, count: 2 });\nassert.strictEqual(cart.total(), 7);"
_STACK: Final = "\n".join(f"    at Cart.total (src/cart.js:{line}:19)" for line in range(40, 52))
_STATS: Final = {"suites": 1, "start": "2026-05-20T12:00:00.000Z", "end": "2026-05-20T12:00:09.000Z", "duration": 9_000}


def write_report(path: Path, cases: int) -> None:
    """Write a report with 100 tests per suite; one test in fifty fails, and one in ten has a context."""
    with path.open("w", encoding="utf-8") as file:
        file.write(f'{{"stats":{json.dumps(_STATS)},"results":[{{"uuid":"0","title":"","fullFile":"","file":"",')
        file.write('"beforeHooks":[],"afterHooks":[],"tests":[],"suites":[')
        for number in range(cases // _CASES_PER_SUITE):
            file.write("," if number else "")
            json.dump(_suite(number), file, ensure_ascii=False, separators=(",", ":"))
        file.write('],"passes":[],"root":true}],"meta":{}}')


def bare_loop(path: Path) -> None:
    """Read each test as one value."""
    with path.open("rb") as file:
        stream = JsonStream(file)
        for key in stream.members():
            if key == "results":
                _read_suites(stream)
            else:
                stream.value()


def _read_suites(stream: JsonStream) -> None:
    for _ in stream.elements():
        for key in stream.members():
            if key == "suites":
                _read_suites(stream)
            elif key == "tests":
                for _ in stream.items():
                    pass
            else:
                stream.value()


def _suite(number: int) -> dict[str, Any]:
    tests = [_test(number, case) for case in range(_CASES_PER_SUITE)]
    return {
        "uuid": f"42a7fd8e-982b-47b7-b6d4-{number:012}",
        "title": f"cart {number} — Σ",
        "fullFile": f"/ci/shop/test/cart{number}.js",
        "file": f"/test/cart{number}.js",
        "beforeHooks": [],
        "afterHooks": [],
        "tests": tests,
        "suites": [],
        "passes": [test["uuid"] for test in tests if test["pass"]],
        "failures": [test["uuid"] for test in tests if test["fail"]],
        "pending": [],
        "skipped": [],
        "duration": 900,
        "root": False,
        "rootEmpty": False,
        "_timeout": 2_000,
    }


def _test(number: int, case: int) -> dict[str, Any]:
    failed = case % 50 == 0
    title = f"adds {case} items [{case % 7}, {case % 3}]"
    message = f"AssertionError: Expected values to be strictly equal:\n\n{case} !== 7\n"
    context = json.dumps([{"title": "issue", "value": f"SHOP-{case}"}, f"screenshots/cart{case}.png"])
    return {
        "title": title,
        "fullTitle": f"cart {number} — Σ {title}",
        "timedOut": False,
        "duration": case % 97,
        "state": "failed" if failed else "passed",
        "speed": None if failed else "fast",
        "pass": not failed,
        "fail": failed,
        "pending": False,
        "context": None if case % 10 else context,
        "code": _CODE,
        "err": {"message": message, "estack": f"{message}{_STACK}", "diff": f"- {case}\n+ 7\n"} if failed else {},
        "uuid": f"9f547fe5-806e-4320-{number:04}-{case:012}",
        "parentUUID": f"42a7fd8e-982b-47b7-b6d4-{number:012}",
        "isHook": False,
        "skipped": False,
    }
