"""Reports of Cucumber for JavaScript, Java, and Ruby, of Behave, and of pytest-bdd."""

import json
from base64 import b64decode
from pathlib import Path
from typing import Any, Final

import pytest

from tests.reports.manifests import OWN
from tests.reports.tools.reading import outline, read_case, read_run

FOLDER: Final = OWN / "cucumber"
JS: Final = FOLDER / "cucumber-js.json"
JVM: Final = FOLDER / "cucumber-jvm.json"
RUBY: Final = FOLDER / "cucumber-ruby.json"
BEHAVE: Final = FOLDER / "behave.json"
CART: Final = "features/cart.feature"
EQUAL: Final = "Expected values to be strictly equal:"
COMPARED: Final = r"+ actual - expected + 'mug x2' - 'mug x2\nbook x1'"


def identities(*paths: Path) -> list[tuple[str, str, str]]:
    return [(case.suite, case.name, case.status) for path in paths for case in read_run(path).cases]


def test_cases_of_javascript() -> None:
    assert [line[:5] + line[6:] for line in outline(JS)] == [
        ("Cart", "Adds an item", CART, 9, "passed", None),
        ("Cart", "Wrong total", CART, 13, "failed", f"{EQUAL} 1 !== 2"),
        ("Cart", "Undefined step", CART, 18, "failed", "undefined step: When I pay with seashells"),
        ("Cart", "Pending step", CART, 22, "failed", "pending step: When I redeem a voucher"),
        ("Cart", "Ambiguous step", CART, 25, "failed", "ambiguous step: When I add 2 things"),
        ("Cart", "Skipped scenario", CART, 28, "skipped", None),
        ("Cart", "Data table", CART, 32, "failed", f"{EQUAL} {COMPARED}"),
        ("Cart", "Attaches files", CART, 43, "failed", f"{EQUAL} 0 !== 3"),
        ("Cart", "Totals", CART, 54, "passed", None),
        ("Cart", "Totals", CART, 55, "failed", f"{EQUAL} 2 !== 3"),
        ("Cart", "Totals", CART, 59, "passed", None),
        ("Cart", "Without steps", CART, 61, "skipped", "The scenario has no steps."),
        ("Checkout", "Before hook fails", "features/hooks.feature", 4, "failed", "no database"),
        ("Checkout", "After hook fails", "features/hooks.feature", 8, "failed", "can't delete the cart"),
        ("Checkout", "Passes in the second attempt", "features/hooks.feature", 12, "passed", None),
        ("Checkout", "Logs", "features/hooks.feature", 17, "passed", None),
        ("Checkout", "Member", "features/hooks.feature", 22, "failed", f"{EQUAL} 0 !== 1"),
    ]
    run = read_run(JS)
    assert (run.started_at, run.completed_at, run.problems) == (None, None, ())
    assert {case.started_at for case in run.cases} == {None}


def test_texts_and_output_of_a_failed_scenario_of_javascript() -> None:
    case = read_case(JS, "Data table")

    assert (case.type, case.message) == (
        "AssertionError",
        f"{EQUAL}\n+ actual - expected\n+ 'mug x2'\n- 'mug x2\\nbook x1'\n         ^",
    )  # fmt: skip
    assert (case.details or "").startswith(
        f'Then the receipt is:\n"""\nmug x2\n"""\nAssertionError [ERR_ASSERTION]: {EQUAL}\n+ actual - expected\n\n'
    )
    assert (case.details or "").endswith("    at World.<anonymous> (/builds/shop/features/support/steps.js:15:50)")
    assert case.output == {
        "steps.txt": (
            "passed: Given an empty cart (0 ms)\npassed: When I add these items: (0 ms)\n"
            "failed: Then the receipt is: (0 ms)"
        )
    }
    assert (case.properties, case.attempt_count) == ({"tags": "@shop"}, 1)


def test_embedded_files_of_javascript_are_artifacts_and_its_logs_are_output() -> None:
    case = read_case(JS, "Attaches files")

    steps = json.loads(JS.read_text())[0]["elements"][7]["steps"]
    screenshot = b64decode(steps[2]["embeddings"][0]["data"])
    assert screenshot.startswith(b"\x89PNG")
    assert case.embedded == {
        "screenshot.png": ("screenshot", "image/png", screenshot),
        "attachment.json": ("other", "application/json", b'{"items": 0}'),
    }
    assert case.output["log.txt"] == "3 items expected\nplain text\nhttps://shop.example/cart"


def test_duration_is_the_sum_of_steps_and_hooks() -> None:
    # nanoseconds: 3848314 + 47220 + 7052063
    assert read_case(JS, "Passes in the second attempt").duration_ms == 11
    # seconds: 0.0000438 + 0.000471
    assert read_case(BEHAVE, "Passes in the second attempt").duration_ms == 1
    # nanoseconds: 1000000 + 2000000 + 2000000 + 2000000
    assert read_case(JVM, "Adds an item").duration_ms == 7


def test_json_and_junit_of_javascript_differ_only_in_names_and_in_a_scenario_without_steps() -> None:
    names = {
        "Totals - small - #1.1": "Totals", "Totals - small - #1.2": "Totals", "Totals - large - #2.1": "Totals",
        "Members get a discount - Member": "Member",
    }  # fmt: skip
    junit = [
        (suite.removeprefix("Cucumber > "), names.get(name, name), "skipped" if name == "Without steps" else status)
        for suite, name, status in identities(FOLDER / "cucumber-js.xml")
    ]
    assert identities(JS) == junit


def test_messages_of_javascript_start_as_in_junit() -> None:
    messages = {
        (case.name, case.line): case for case in read_run(JS).cases if case.status == "failed" and case.type is not None
    }
    junit = [case for case in read_run(FOLDER / "cucumber-js.xml").cases if case.type is not None]
    assert len(messages) == len(junit) == 7
    for case, expected in zip(messages.values(), junit, strict=True):
        assert case.type == expected.type
        assert (expected.message or "").replace("\n\n", "\n").startswith(case.message or "?")


def test_cases_of_java() -> None:
    cart, checkout = "com/example/shop/cart.feature", "src/test/resources/checkout.feature"
    assert outline(JVM) == [
        ("Cart", "Adds an item", cart, 6, "passed", 7, None),
        ("Cart", "Wrong total", cart, 10, "failed", 35, "Expected: is <2> but: was <1>"),
        ("Cart", "Totals", cart, 24, "passed", 6, None),
        ("Cart", "Totals", cart, 25, "failed", 3, "pending step: When I add 2 items"),
        ("Cart", "Background fails", cart, 27, "failed", 2, "no database"),
        ("Checkout", "After hook fails", checkout, 4, "failed", 5, "can't delete the cart"),
        ("Checkout", "Assumption", checkout, 7, "skipped", 1, "Assumption failed: no provider"),
        ("Checkout", "Undefined step", checkout, 10, "failed", None, "undefined step: When I pay with seashells"),
    ]
    run = read_run(JVM)
    # The last scenario with a duration starts at 08:30:06 and takes 1 ms.
    assert (run.started_at, run.completed_at) == ("2026-11-20T08:30:00.000Z", "2026-11-20T08:30:06.001Z")
    assert read_case(JVM, "Background fails").started_at == "2026-11-20T08:30:04.000Z"


def test_failure_of_java_has_the_type_the_step_its_doc_string_and_the_stack() -> None:
    case = read_case(JVM, "Wrong total")

    assert (case.type, case.message) == ("java.lang.AssertionError", "Expected: is <2>\n     but: was <1>")
    assert (case.details or "").startswith('Then the total is 2\n"""\nin euros\n"""\njava.lang.AssertionError: \n')
    assert "at com.example.shop.CartSteps.total(CartSteps.java:41)" in (case.details or "")
    assert list(case.embedded) == ["cart.png"]
    assert case.output["steps.txt"].splitlines() == [
        "passed: Given an empty cart (2 ms)",
        "passed: When I add 1 item (2 ms)",
        "failed: Then the total is 2 (30 ms)",
        "skipped: And the receipt is printed",
    ]


def test_failed_hook_is_named_in_the_details() -> None:
    case = read_case(JVM, "After hook fails")
    assert (case.details or "").startswith("After hook com.example.shop.Hooks.close()\njava.io.IOException: can't")


def test_cases_of_ruby() -> None:
    run = read_run(RUBY)

    assert [(case.name, case.line, case.status, case.summary) for case in run.cases if case.status != "passed"] == [
        ("Wrong total", 13, "failed", "expected 2, got 1 (RuntimeError)"),
        ("Undefined step", 18, "failed", "undefined step: When I pay with seashells"),
        ("Pending step", 22, "failed", "pending step: When I redeem a voucher"),
        ("Skipped scenario", 28, "skipped", None),
        ("Data table", 32, "failed", "expected mug, got mug x2 (RuntimeError)"),
        ("Attaches files", 43, "failed", "expected 3, got 0 (RuntimeError)"),
        ("Totals", 55, "failed", "expected 3, got 2 (RuntimeError)"),
        ("Before hook fails", 4, "failed", "no database (RuntimeError)"),
        ("After hook fails", 8, "failed", "can't delete the cart (RuntimeError)"),
        ("Passes in the second attempt", 12, "failed", "not yet (RuntimeError)"),
        ("(suite)", None, "failed", "undefined step: Given I pay with seashells"),
    ]
    assert (run.started_at, run.problems) == (None, ())
    case = read_case(RUBY, "Attaches files")
    assert (list(case.embedded), case.output["log.txt"]) == (["screenshot.png"], "3 items expected")


def test_json_and_junit_of_behave_have_the_same_cases_and_statuses() -> None:
    assert identities(BEHAVE) == identities(FOLDER / "TESTS-cart.xml", FOLDER / "TESTS-hooks.xml")


def test_cases_of_behave() -> None:
    failing = [case for case in read_run(BEHAVE).cases if case.status in ("failed", "error")]

    no_reason = "The scenario has the status hook_error. The report contains no reason."
    assert [(case.name, case.line, case.summary) for case in failing] == [
        ("Wrong total", 13, "total is 1"),
        ("Undefined step", 18, "undefined step: When I pay with seashells"),
        ("Pending step", 22, "pending step: When I redeem a voucher"),
        ("Ambiguous step", 25, "undefined step: When I add 2 things"),
        ("Data table", 32, "undefined step: When I add these items:"),
        ("Attaches files", 43, "total is 0"),
        ("Totals -- @1.2 small", 55, "total is 2"),
        ("Before hook fails", 4, no_reason),
        ("After hook fails", 8, no_reason),
        ("Passes in the second attempt", 12, "error: Then it works now"),
        ("Member", 22, "total is 0"),
    ]
    table = read_case(BEHAVE, "Data table")
    assert table.details == "When I add these items:\n| sku | count |\n| mug | 2 |\n| book | 1 |"
    assert table.output["steps.txt"] == (
        "passed: Given an empty cart (0 ms)\nundefined: When I add these items: (0 ms)\n"
        "not executed: Then the receipt is:"
    )
    assert (table.file, table.properties) == (CART, {"tags": "shop"})
    assert list(read_case(BEHAVE, "Attaches files").embedded) == ["screenshot.png"]


def test_hook_of_a_feature_of_behave_fails_without_a_scenario() -> None:
    assert outline(FOLDER / "behave-hook.json") == [
        (
            "cart.Cart", "(suite)", None, None, "error", None,
            "The feature has the status hook_error. The report contains no reason.",
        )
    ]  # fmt: skip


def test_cases_of_pytest_bdd_and_the_note_about_what_it_omits() -> None:
    path = FOLDER / "pytest-bdd.json"
    run = read_run(path)

    assert [(case.suite, case.name, case.occurrence, case.status, case.summary) for case in run.cases] == [
        ("Cart", "Adds an item", 0, "passed", None),
        ("Cart", "Wrong total", 0, "failed", "assert 1 == 2"),
        ("Cart", "Undefined step", 0, "passed", None),  # pytest itself: failed
        ("Cart", "Data table", 0, "failed", "assert 'mug x2' == 'mug x2\\nbook x1'"),
        ("Cart", "Attaches files", 0, "failed", "assert 0 == 3"),
        ("Cart", "Totals", 0, "passed", None),
        ("Cart", "Totals", 1, "failed", "assert 2 == 3"),
        ("Cart", "Totals", 2, "passed", None),
        ("Cart", "Expected failure", 0, "skipped", None),
    ]
    assert {case.file for case in run.cases} == {CART}
    [note] = run.problems
    assert note.startswith("pytest-bdd: this report omits undefined steps")


@pytest.mark.parametrize("path", [JS, JVM, RUBY, BEHAVE, FOLDER / "pytest-bdd.json"], ids=lambda path: path.stem)
def test_no_name_or_file_depends_on_the_machine(path: Path) -> None:
    texts: list[Any] = [text for case in read_run(path).cases for text in (case.suite, case.name, case.file)]
    assert not [text for text in texts if "builds" in (text or "")]
