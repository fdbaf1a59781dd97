"""Reports in TAP: prove and Test::More, node:test, node-tap, tape, AVA, bats, and Mocha."""

import random
import re
from pathlib import Path
from typing import Any, Final

import pytest

from service.reports.conversion.names import SUITE_LEVEL_NAME
from tests.reports.conversions import FAILING, convert_text
from tests.reports.manifests import OWN
from tests.reports.test_identity import SEED
from tests.reports.tools.reading import outline, read_case, read_run

TAP: Final = OWN / "tap"
PROVE: Final = TAP / "prove.tap"
NODE: Final = TAP / "node-test.tap"
NODE_JUNIT: Final = TAP / "node-test.xml"  # of the same run
NODE_TAP: Final = TAP / "node-tap.tap"
TAPE: Final = TAP / "tape.tap"
BATS: Final = TAP / "bats.tap"
BATS_JUNIT: Final = TAP / "bats.xml"  # of the same run
CART_T: Final = "t/cart.t"
CART_JS: Final = "taptest/cart.js"
DIFFERENCE: Final = "Difference (- actual, + expected):"
CANCELED_BY_PARENT: Final = "test did not finish before its parent and was cancelled"  # codespell:ignore cancelled
SUBTESTS: Final = "has subtests"
NO_MATCH: Final = "Structures begin differing at: $got->{items}[0] = 'a' $expected->{items}[0] = 'b'"
DIFFERS: Final = "Expected values to be strictly deep-equal: + actual - expected items: [ + 'a' - 'b'"


def test_cases_of_prove() -> None:
    assert outline(PROVE) == [
        (CART_T, "adds an item", CART_T, None, "passed", None, None),
        (CART_T, "total is right", CART_T, 9, "failed", None, "got: '3' expected: '4'"),
        (CART_T, "items are kept", CART_T, 10, "failed", None, NO_MATCH),
        (CART_T, "states the reason # 1", CART_T, 11, "failed", None, "'no stock'"),
        (CART_T, "test 5", CART_T, None, "passed", None, None),
        (CART_T, "test 6", CART_T, None, "skipped", None, "needs a database"),
        (CART_T, "rounds the total", CART_T, 19, "skipped", None, "SHOP-12 rounds up"),
        (CART_T, "rounds the tax", CART_T, None, "skipped", None, "SHOP-12 rounds up"),
        (f"{CART_T} > discount", "is applied", CART_T, None, "passed", None, None),
        (f"{CART_T} > discount", "is applied twice — Σ", CART_T, 25, "failed", None, "got: '10 %' expected: '20 %'"),
        (f"{CART_T} > discount > vouchers", "expire", CART_T, None, "passed", None, None),
        ("t/dies.t", "opens", "t/dies.t", None, "passed", None, None),
        ("t/dies.t", "reads", "t/dies.t", None, "passed", None, None),
        ("t/dies.t", "(suite)", None, None, "error", None, "The plan states 4 test points, but the report contains 2."),
        ("t/stock.t", "counts", "t/stock.t", None, "passed", None, None),
        ("t/stock.t", "orders", "t/stock.t", None, "skipped", None, "no network"),
        ("t/stock.t > empty", "is empty", "t/stock.t", None, "passed", None, None),
        ("", "t/skipall.t", None, None, "skipped", None, "needs Windows"),
    ]


def test_texts_of_prove() -> None:
    case = read_case(PROVE, "states the reason # 1")
    assert (case.type, case.message) == (None, "'no stock'\ndoesn't match '(?^:sold)'")
    comments = "                'no stock'\n  doesn't match '(?^:sold)'"
    assert case.details == f"Failed test 'states the reason # 1'\nat t/cart.t line 11.\n{comments}"
    died = read_case(PROVE, "(suite)")
    assert died.output == {"output.txt": "no connection\n"}


def test_run_of_prove() -> None:
    run = read_run(PROVE)

    assert (run.started_at, run.completed_at, run.failures_missing) == (None, None, False)
    assert run.problems == ("t/dies.t: The plan states 4 test points, but the report contains 2.",)


def test_bail_out_of_test_more() -> None:
    assert outline(TAP / "bail-out.tap") == [
        ("", "opens", None, None, "passed", None, None),
        ("", "(suite)", None, None, "error", None, "Bail out! the database is gone"),
    ]


def test_cases_of_node_test() -> None:
    assert outline(NODE) == [
        ("", "broken.test.js", "broken.test.js", 1, "failed", 74, "exitCode: 1"),
        ("", "adds an item", None, None, "passed", 1, None),
        ("", "total is right", "cart.test.js", 5, "failed", 1, "Expected values to be strictly equal: 3 !== 4"),
        ("", "compares carts", "cart.test.js", 6, "failed", 1, DIFFERS),
        ("", "throws a string", "cart.test.js", 7, "failed", 1, "plain #1"),
        ("", "is skipped", None, None, "skipped", 1, "SHOP-10"),
        ("", "is skipped without a reason", None, None, "skipped", 1, None),
        ("", "is to do", "cart.test.js", 10, "skipped", 6, "SHOP-11"),
        ("", "is done", None, None, "skipped", 1, None),
        ("", "name with # and \\ — Σ", None, None, "passed", 1, None),
        (SUBTESTS, "first", None, None, "passed", 1, None),
        (SUBTESTS, "second", "cart.test.js", 15, "failed", 1, "no stock"),
        ("fails after its subtests", "passes", None, None, "passed", 1, None),
        ("fails after its subtests", "(suite)", "cart.test.js", 17, "failed", None, "own failure"),
        ("", "times out", "cart.test.js", 21, "failed", 21, "test timed out after 20ms"),
        ("", "prints", None, None, "passed", 20, None),
        ("", "prints diagnostics", None, None, "passed", 1, None),
        ("discount", "is applied", None, None, "passed", 1, None),
        ("discount > vouchers", "expire", "cart.test.js", 32, "failed", 1, "'a\\nb' == 'a\\nc'"),
        ("hooks", "never runs", "cart.test.js", 37, "failed", 0,
         CANCELED_BY_PARENT),
        ("hooks", "(suite)", "cart.test.js", 35, "failed", None, "no database"),
        ("teardown", "passes", None, None, "passed", 1, None),
        ("teardown", "(suite)", "cart.test.js", 39, "failed", None, "still open"),
        ("", "skipped suite", None, None, "skipped", 1, None),
        ("", "empty.test.js", None, None, "passed", 68, None),
    ]  # fmt: skip


def test_texts_of_node_test() -> None:
    case = read_case(NODE, "total is right")

    assert (case.type, case.message) == ("AssertionError", "Expected values to be strictly equal:\n\n3 !== 4")
    assert case.details
    start = "expected: 4\nactual: 3\nTestContext.<anonymous> (/builds/shop/nodetest/cart.test.js:5:37)\n"
    assert case.details.startswith(start)
    assert case.details.endswith("\noperator: strictEqual")


def test_run_of_node_test() -> None:
    run = read_run(NODE)

    # `# duration_ms 346.359694`. The last test point has the number 3, but 20 points were planned and found.
    assert (run.started_at, run.problems) == ("2026-12-31T23:59:59.653Z", ())
    assert not run.failures_missing


def test_cases_of_node_test_equal_those_of_its_junit_xml() -> None:
    of_tap = {(case.suite, case.name): case.status for case in read_run(NODE).cases}
    # The class of each case in the JUnit XML is `test`.
    of_junit = {
        (case.suite.removesuffix("test").removesuffix(" > "), case.name): case.status
        for case in read_run(NODE_JUNIT).cases
    }
    # The JUnit XML omits the failures of tests with subtests and of hooks, and states a failure of a test to do.
    omitted = [(suite, "(suite)") for suite in ("fails after its subtests", "hooks", "teardown")]
    assert [of_tap.pop(key) for key in omitted] == ["failed"] * 3
    assert (of_tap.pop(("", "is to do")), of_junit.pop(("", "is to do"))) == ("skipped", "failed")
    assert of_tap == of_junit


def test_cases_of_node_tap() -> None:
    assert [(*case[:2], *case[3:6]) for case in read_run(NODE_TAP).cases] == [
        ("", CART_JS.replace("cart", "broken"), None, None, "failed"),
        (f"{CART_JS} > adds an item", "sum", CART_JS, None, "passed"),
        (f"{CART_JS} > adds an item", "should be equal", CART_JS, None, "passed"),
        (f"{CART_JS} > total is right", "total", CART_JS, 9, "failed"),
        (f"{CART_JS} > total is right", "should be equivalent", CART_JS, 10, "failed"),
        (CART_JS, "is skipped", CART_JS, None, "skipped"),
        (CART_JS, "is to do", CART_JS, None, "skipped"),
        (f"{CART_JS} > todo assertion", "rounds", CART_JS, None, "skipped"),
        (f"{CART_JS} > todo assertion", "skips", CART_JS, None, "skipped"),
        (f"{CART_JS} > throws — Σ", "no stock", CART_JS, 16, "failed"),
        (f"{CART_JS} > plan is wrong", "once", CART_JS, None, "passed"),
        (f"{CART_JS} > plan is wrong", "test count(1) != plan(2)", CART_JS, 17, "failed"),
        (CART_JS, "top level", CART_JS, None, "passed"),
        ("taptest/stock.js > counts", "one", "taptest/stock.js", None, "passed"),
    ]


def test_durations_and_texts_of_node_tap() -> None:
    broken, total = read_case(NODE_TAP, "taptest/broken.js"), read_case(NODE_TAP, "total")

    assert (broken.duration_ms, broken.summary, broken.details) == (954, "exitCode: 1", "exitCode: 1")
    assert total.details
    assert total.details.startswith("--- expected\n+++ actual\n@@ -1,1 +1,1 @@\n-4\n+3\nTest.<anonymous>")


def test_cases_of_tape() -> None:
    assert [(*case[:2], *case[3:6], case.summary) for case in read_run(TAPE).cases] == [
        ("adds an item", "should be truthy", None, None, "passed", None),
        ("adds an item", "sum is right", None, None, "passed", None),
        ("total", "should be strictly equal", "cart.js", 10, "failed", "expected: 4 actual: 3"),
        ("total", "items are kept # really", "cart.js", 11, "failed",
         "expected: { items: [ 'b' ] } actual: { items: [ 'a' ] }"),
        ("a comment", "after a comment", None, None, "passed", None),
        ("stores the cart", "needs a database", None, None, "skipped", None),
        ("stores the cart", "is rounded", "cart.js", 19, "skipped", "expected: true actual: false"),
        ("stores the cart", "is done", None, None, "skipped", "SHOP-11"),
        ("to do", "rounds — Σ", "cart.js", 24, "skipped", "operator: fail"),
        ("inner", "inner passes", None, None, "passed", None),
        ("throws", "should throw", "cart.js", 31, "failed", "expected: undefined actual: undefined"),
        ("throws", "Error: no stock", "cart.js", 31, "failed", "Error: no stock"),
        ("exits early", "once", None, None, "passed", None),
        ("exits early", "exits early timed out after 20ms", None, None, "failed",
         "Error: exits early timed out after 20ms"),
    ]  # fmt: skip
    assert read_case(TAPE, "should be strictly equal").output == {"output.txt": "computes the total\n"}


def test_cases_of_ava() -> None:
    assert outline(TAP / "ava.tap") == [
        ("", "is skipped", None, None, "skipped", None, None),
        ("", "is to do", None, None, "skipped", None, None),
        ("", "adds an item", None, None, "passed", None, None),
        ("", "total is right", None, None, "failed", None, f"{DIFFERENCE} - 3 + 4 assertion: t.is() computes"),
        ("", "throws", "cart.test.mjs", 5, "failed", None, "Error thrown in test"),
        ("", "known defect", None, None, "passed", None, None),
        (
            "",
            "compares",
            None,
            None,
            "failed",
            None,
            f"{DIFFERENCE} items: [ - 'a', + 'b', assertion: t.deepEqual()",
        ),
    ]
    assert (read_case(TAP / "ava.tap", "total is right").details or "").endswith("computes")


def test_cases_of_bats_equal_those_of_its_junit_xml() -> None:
    of_tap = {case.name: (case.status, case.duration_ms) for case in read_run(BATS).cases}
    of_junit = {case.name: (case.status, case.duration_ms) for case in read_run(BATS_JUNIT).cases}

    # bats omits the tests of a file whose setup fails.
    assert of_tap.pop("(suite)") == ("error", None)
    for name in ("is skipped", "is skipped # without a reason", "setup_file failed"):  # without durations
        of_junit[name] = (of_junit[name][0], None)
    assert of_tap == of_junit


def test_texts_of_bats() -> None:
    case = read_case(BATS, "total is right")

    assert (case.file, case.line) == ("cart.bats", 3)
    assert case.message == '`@test "total is right" { echo "total: 3"; [ 3 -eq 4 ]; }\' failed\nin setup\ntotal: 3'
    assert read_case(BATS, "is skipped").message == "SHOP-10"


def test_cases_of_mocha() -> None:
    differs = "Expected values to be loosely deep-equal: sum: 3 should loosely deep-equal sum: 4 "
    found = outline(TAP / "mocha.tap")

    assert [(case[1], case[4]) for case in found] == [
        ("cart adds", "passed"), ("cart is wrong", "failed"), ("cart is skipped", "skipped"),
        ("cart is pending", "skipped"), ('cart nested "before all" hook for "x"', "failed"),
    ]  # fmt: skip
    assert found[1][-1].startswith(differs)
    assert found[4][-1] == "no database"


@pytest.mark.parametrize("report", sorted(TAP.glob("*.tap")), ids=lambda path: path.name)
def test_outcomes_do_not_change_identities(report: Path, tmp_path: Path) -> None:
    def identities(text: str) -> list[tuple[Any, ...]]:
        results = convert_text(text, tmp_path)[1]
        return [(each["suite"], each["name"]) for each in results if each["name"] != SUITE_LEVEL_NAME]

    text = report.read_text("utf-8")
    chooser = random.Random(SEED)
    changed = re.sub(r"(?m)^( *)(?:not )?ok\b(?=.)", lambda point: point[1] + chooser.choice(["ok", "not ok"]), text)

    assert changed != text
    assert identities(changed) == identities(text)


@pytest.mark.parametrize("report", sorted(TAP.glob("*.tap")), ids=lambda path: path.name)
def test_truncated_report_is_never_passed(report: Path, tmp_path: Path) -> None:
    lines = re.sub(r"(?m)^( *)not ok\b", r"\1ok", report.read_text("utf-8")).splitlines(keepends=True)
    points = [number for number, line in enumerate(lines) if re.match(r" *ok \d", line)]

    for end in points[1:]:
        summary, results = convert_text("".join(lines[:end]), tmp_path)
        assert summary.failures_missing or any(result["status"] in FAILING for result in results)
