"""A report of Cucumber for JavaScript: 50 scenarios per feature, of which one fails with a stack and a log."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any, Final

from service.reports.streams.json import JsonStream

SUFFIX: Final = ".json"

_PER_FEATURE: Final = 50
_STACK: Final = "AssertionError [ERR_ASSERTION]: Expected values to be strictly equal:\n\n1 !== 2\n" + "".join(
    f"\n    at World.step{number} (/builds/shop/features/support/steps.js:{number}:54)" for number in range(10)
)


def write_report(path: Path, cases: int) -> None:
    """Write a report with this number of scenarios."""
    with path.open("w") as file:
        for start in range(0, cases, _PER_FEATURE):
            file.write("[" if start == 0 else ",")
            numbers = range(start, min(start + _PER_FEATURE, cases))
            json.dump(_feature(start, [_scenario(number) for number in numbers]), file, indent=2)
        file.write("]" if cases else "[]")


def bare_loop(path: Path) -> None:
    """Read each scenario as one value, and discard it."""
    with path.open("rb") as file:
        stream = JsonStream(file)
        for _ in stream.elements():
            for key in stream.members():
                if key == "elements":
                    for _ in stream.items():
                        pass
                else:
                    stream.value()


def _feature(number: int, scenarios: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "description": "  Customers collect items.", "elements": scenarios, "id": f"cart-{number}", "line": 2,
        "keyword": "Feature", "name": f"Cart {number}", "tags": [{"name": "@shop", "line": 1}],
        "uri": f"features/cart-{number}.feature",
    }  # fmt: skip


def _scenario(number: int) -> dict[str, Any]:
    fails = number % _PER_FEATURE == _PER_FEATURE - 1
    steps = [_step("Given ", "an empty cart"), _step("When ", f"I add {number} items"), _step("Then ", "it is full")]
    if fails:
        steps[-1]["result"] |= {"status": "failed", "error_message": _STACK}
        log = b64encode(b"a line of output\n" * 10).decode()
        steps[-1]["embeddings"] = [{"data": log, "mime_type": "text/x.cucumber.log+plain"}]
    hook = {"keyword": "Before", "hidden": True, "result": {"status": "passed", "duration": 42_000}}
    return {
        "description": "", "id": f"cart;adds-{number}", "keyword": "Scenario", "line": number, "name": f"Adds {number}",
        "steps": [hook, *steps], "tags": [{"name": "@shop", "line": 1}], "type": "scenario",
    }  # fmt: skip


def _step(keyword: str, name: str) -> dict[str, Any]:
    return {
        "arguments": [], "keyword": keyword, "line": 6, "name": name,
        "match": {"location": "features/support/steps.js:8"}, "result": {"status": "passed", "duration": 1_042_000},
    }  # fmt: skip
