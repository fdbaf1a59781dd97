"""Reports of pytest-json-report, and the bare loop over their tests."""

import json
from pathlib import Path
from typing import Final

from service.reports.streams.json import JsonStream

SUFFIX: Final = ".json"

_TRACEBACK: Final = "\n".join(f"tests/test_cart.py:{line}: in total" for line in range(40, 52))
_RECORD: Final = {"name": "shop", "msg": "adding item", "levelname": "INFO", "filename": "cart.py", "lineno": 7}


def write_report(path: Path, cases: int) -> None:
    """Write tests with keywords, properties, and a log. One in fifty fails with a traceback."""
    head = {"created": 1795967449.78, "duration": 60.5, "exitcode": 1, "root": "/ci/shop", "environment": {}}
    with path.open("w", encoding="utf-8") as file:
        file.write(f'{json.dumps(head)[:-1]}, "tests": [')
        file.writelines(f"{', ' if case else ''}{json.dumps(_test(case))}" for case in range(cases))
        file.write("]}")


def _test(case: int) -> dict[str, object]:
    failed = case % 50 == 0
    call: dict[str, object] = {"duration": case % 997 / 1000, "outcome": "failed" if failed else "passed"}
    if failed:
        crash = {"path": "/ci/shop/tests/test_cart.py", "lineno": 51, "message": f"AssertionError: assert {case} == 7"}
        call |= {"crash": crash, "traceback": [crash], "longrepr": _TRACEBACK, "log": [_RECORD] * 8}
    return {
        "nodeid": f"tests/unit/test_cart_{case // 100}.py::TestCart::test_adds[{case}]",
        "lineno": case % 400,
        "outcome": call["outcome"],
        "keywords": [f"test_adds[{case}]", "parametrize", "pytestmark", "TestCart", "unit", "tests", "shop", ""],
        "setup": {"duration": 0.0001, "outcome": "passed"},
        "call": call,
        "user_properties": [{"issue": f"SHOP-{case}"}] if case % 5 == 0 else [],
        "teardown": {"duration": 0.0001, "outcome": "passed"},
    }


def bare_loop(path: Path) -> None:
    """Parse each test as one value, and discard it."""
    with path.open("rb") as source:
        stream = JsonStream(source)
        for key in stream.members():
            if key == "tests":
                for _test in stream.items():
                    pass
            else:
                stream.value()
