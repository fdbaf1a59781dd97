"""Reports of Jest: jest-junit with its default settings and with options, and jest-ctrf-json-reporter."""

import json
from typing import Final

from tests.reports.manifests import OWN
from tests.reports.tools.reading import outline, read_case, read_run

JUNIT: Final = OWN / "jest" / "junit.xml"
OPTIONS: Final = OWN / "jest" / "junit-options.xml"
CTRF: Final = OWN / "jest" / "ctrf.json"
FILE: Final = "src/cart.test.js"
TOTALS: Final = "cart totals — Σ"
DEEP_EQUALITY: Final = "Error: expect(received).toEqual(expected) // deep equality"
EQUALITY: Final = "Error: expect(received).toBe(expected) // Object.is equality"
THROWN: Final = 'Error: thrown: "plain <&> red'
TIMEOUT: Final = 'Error: thrown: "Exceeded timeout of 20 ms for a test while waiting for `done()` to be called.'


def test_cases_of_jest_junit() -> None:
    assert outline(JUNIT) == [
        ("cart", f"{TOTALS} adds items", None, None, "passed", 1, None),
        ("cart", f"{TOTALS} is wrong", None, None, "failed", 1, DEEP_EQUALITY),
        ("cart", f"{TOTALS} parametrized 1 = 1", None, None, "passed", 1, None),
        ("cart", f"{TOTALS} parametrized 2 = 3", None, None, "failed", 0, f"{EQUALITY} Expected: 3 Received: 2"),
        ("cart", "cart is skipped", None, None, "skipped", 0, None),
        ("cart", "cart is planned", None, None, "passed", 0, None),  # test.todo
        ("cart", "cart throws a string", None, None, "failed", 0, THROWN),
        ("cart", "cart times out", None, None, "failed", 21, TIMEOUT),
        ("cart", "cart ", None, None, "passed", 0, None),
        ("cart", "hooks first", None, None, "failed", 0, "Error: no database"),
        ("cart", "retries passes in the third attempt", None, None, "passed", 0, None),
        ("cart", "retries always fails", None, None, "failed", 0, "Error: always"),
        ("cart", " ordinary", None, None, "passed", 0, None),
    ]


def test_run_of_jest_junit() -> None:
    run = read_run(JUNIT)

    # timestamp="2026-11-25T18:57:06" without a zone, time="0.35"
    assert (run.started_at, run.completed_at) == ("2026-12-31T23:59:59.650Z", None)
    assert (run.problems, {case.started_at for case in run.cases}) == ((), {None})


def test_texts_of_jest_junit() -> None:
    case = read_case(JUNIT, f"{TOTALS} is wrong")

    assert (case.type, case.message) == (None, None)
    assert case.details
    assert case.details.startswith(
        f"{DEEP_EQUALITY}\n\n- Expected  - 1\n+ Received  + 1\n\n"
        '  Object {\n    "list": Array [\n      1,\n    ],\n-   "sum": 4,\n+   "sum": 3,\n  }\n'
        "    at Object.<anonymous> (/builds/js-jest/src/cart.test.js:7:37)\n"
    )
    assert (case.output, case.properties, case.flaky, case.attempt_count) == ({}, {}, False, 1)


def test_cases_of_jest_junit_with_options() -> None:
    of_file = [case for case in outline(OPTIONS) if case[2] == FILE]

    assert of_file == [
        ("cart > totals — Σ", "adds items", FILE, None, "passed", 2, None),
        ("cart > totals — Σ", "is wrong", FILE, None, "failed", 1, DEEP_EQUALITY),
        ("cart > totals — Σ", "parametrized 1 = 1", FILE, None, "passed", 1, None),
        ("cart > totals — Σ", "parametrized 2 = 3", FILE, None, "failed", 0, f"{EQUALITY} Expected: 3 Received: 2"),
        ("cart", "is skipped", FILE, None, "skipped", 0, None),
        ("cart", "is planned", FILE, None, "passed", 0, None),
        ("cart", "throws a string", FILE, None, "failed", 0, THROWN),
        ("cart", "times out", FILE, None, "failed", 20, TIMEOUT),
        (f"{FILE} > cart", "cart", FILE, None, "passed", 0, None),
        ("cart > hooks", "first", FILE, None, "failed", 0, "Error: no database"),
        ("cart > retries", "passes in the third attempt", FILE, None, "passed", 0, None),
        ("cart > retries", "always fails", FILE, None, "failed", 0, "Error: always"),
        (f"{FILE} > cart", "ordinary", FILE, None, "passed", 0, None),
    ]


def test_files_that_cannot_be_loaded_are_errors_with_report_test_suite_errors() -> None:
    file = "src/broken.test.js"
    case = read_case(OPTIONS, file)

    assert (case.suite, case.file, case.status) == (f"{file} > Test suite failed to run", file, "error")
    assert case.summary == "Cannot find module './missing-module' from 'src/broken.test.js'"
    assert case.details
    assert case.details.startswith("● Test suite failed to run\n\n    Cannot find module './missing-module'")
    assert read_case(OPTIONS, "src/syntax.test.js").summary == "Jest encountered an unexpected token"
    # The reporter writes each error again as a failure.
    assert read_case(OPTIONS, file, occurrence=1).status == "failed"
    assert not [case for case in read_run(JUNIT).cases if "broken" in case.suite + case.name]


def test_console_output_of_a_file_with_include_console_output() -> None:
    (output,) = read_run(OPTIONS).output.items()

    assert (output[0], read_case(OPTIONS, "is wrong").output) == ("1-cart-system-out.txt", {})
    messages = [(entry["type"], entry["message"]) for entry in json.loads(output[1])]
    assert messages == [("log", "to stdout"), ("error", "to stderr")] * 3  # jest.retryTimes(2)


def test_cases_of_jest_ctrf() -> None:
    cart, totals = "cart.test.js > cart", "cart.test.js > cart > totals — Σ"
    file = "cart.test.js"
    assert outline(CTRF) == [
        (totals, f"{TOTALS} adds items", file, None, "passed", 1, None),
        (totals, f"{TOTALS} is wrong", file, None, "failed", 1, DEEP_EQUALITY),
        (totals, f"{TOTALS} parametrized 1 = 1", file, None, "passed", 1, None),
        (totals, f"{TOTALS} parametrized 2 = 3", file, None, "failed", 0, f"{EQUALITY} Expected: 3 Received: 2"),
        (cart, "cart is skipped", file, None, "skipped", 0, None),
        (cart, "cart is planned", file, None, "skipped", 0, None),
        (cart, "cart throws a string", file, None, "failed", 0, THROWN),
        (cart, "cart times out", file, None, "failed", 21, TIMEOUT),
        (cart, "cart", file, None, "passed", 0, None),
        ("cart.test.js > hooks", "hooks first", file, None, "failed", 0, "Error: no database"),
        ("cart.test.js > retries", "retries passes in the third attempt", file, None, "passed", 0, None),
        ("cart.test.js > retries", "retries always fails", file, None, "failed", 0, "Error: always"),
        ("cart.test.js", "ordinary", file, None, "passed", 0, None),
    ]


def test_run_and_retries_of_jest_ctrf() -> None:
    run = read_run(CTRF)
    flaky = read_case(CTRF, "retries passes in the third attempt")
    failed = read_case(CTRF, "retries always fails")

    # "start": 1795633026217, "stop": 1795633026569
    assert (run.started_at, run.completed_at) == ("2026-11-25T18:57:06.217Z", "2026-11-25T18:57:06.569Z")
    # "retries": 2
    assert (flaky.status, flaky.flaky, flaky.attempt_count) == ("passed", True, 3)
    assert (failed.status, failed.flaky, failed.attempt_count) == ("failed", False, 3)
    assert failed.message == "Error: always\n"
    assert failed.details
    assert failed.details.startswith("at Object.<anonymous> (/builds/js-jest/src/cart.test.js:25:38)\n")
