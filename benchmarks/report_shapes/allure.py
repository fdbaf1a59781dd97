"""Results of Allure: the joined report of the files of one upload, as allure-pytest writes them."""

import json
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path
from typing import Any, Final

SUFFIX: Final = ".json"

_FAILING: Final = 50  # one case in fifty
_TRACE: Final = "\n".join(f'  File "shop/cart.py", line {line}, in total' for line in range(40, 52))
_START: Final = 1_780_000_000_000


def write_report(path: Path, cases: int) -> None:
    """Write a result and the fixtures of each case."""
    with path.open("wb") as file:
        for number in range(cases):
            for kind, document in _documents(number):
                data = json.dumps(document, ensure_ascii=False).encode()
                heading = {"allure_file": f"{document['uuid']}-{kind}.json", "size": len(data)}
                file.write(json.dumps(heading, separators=(",", ":")).encode() + b"\n" + data + b"\n")


def bare_loop(path: Path) -> None:
    """Parse each file with the parser of the standard library."""
    with path.open("rb") as file:
        while line := file.readline():
            json.loads(file.read(json.loads(line)["size"]))
            file.read(1)


def _documents(number: int) -> Iterator[tuple[str, dict[str, Any]]]:
    start, uuid = _START + number * 20, _id("result", number)
    times = {"start": start, "stop": start + number % 997}
    fixture = {"name": "cart", "status": "passed", **times}
    yield "container", {"uuid": _id("container", number), "children": [uuid], "befores": [fixture], **times}
    is_failed = number % _FAILING == 0
    status = "failed" if is_failed else "passed"
    details = {"message": f"AssertionError: assert {number} == 7", "trace": _TRACE}
    parameters = [{"name": "item", "value": "'book'"}, {"name": "price", "value": str(number)}]
    step = {"status": status, "parameters": parameters, **times}
    steps = [{"name": "add the book — €", **step}, {"name": "pay", **step}]
    suite = number // 100
    labels = {
        "owner": "team-cart", "parentSuite": "tests", "suite": f"test_{suite}", "host": "ci", "thread": "7-MainThread",
        "framework": "pytest", "language": "cpython3", "package": f"tests.test_{suite}",
    }  # fmt: skip
    yield "result", {
        "name": f"test_adds[book-{number}]", "status": status, **({"statusDetails": details} if is_failed else {}),
        "steps": steps, "parameters": parameters, **times, "uuid": uuid, "historyId": _id("history", number),
        "testCaseId": _id("case", suite), "fullName": f"tests.test_{suite}.TestCart#test_adds",
        "labels": [{"name": name, "value": value} for name, value in labels.items()],
        "titlePath": ["tests", f"test_{suite}.py", "TestCart"],
    }  # fmt: skip


def _id(kind: str, number: int) -> str:
    return md5(f"{kind} {number}".encode(), usedforsecurity=False).hexdigest()
