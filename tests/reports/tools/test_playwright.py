"""Reports of Playwright: the reporters `json` and `junit`, and playwright-ctrf-json-reporter."""

from typing import Final

import pytest

from tests.reports.manifests import OWN
from tests.reports.tools.reading import ReadCase, outline, read_case, read_run

JSON: Final = OWN / "playwright.json"
JUNIT: Final = OWN / "playwright" / "junit.xml"
CTRF: Final = OWN / "playwright" / "ctrf.json"
EQUALITY: Final = "expect(received).toBe(expected) // Object.is equality"
DEEP_EQUALITY: Final = "expect(received).toEqual(expected) // deep equality"
NOT_FAILED: Final = "The test passed, but is marked as failing with test.fail()."
DESKTOP: Final = '{"project":"desktop"}'
MOBILE: Final = '{"project":"mobile"}'


def of_desktop(name: str) -> ReadCase:
    (case,) = [case for case in read_run(JSON).cases if (case.name, case.variant) == (name, DESKTOP)]
    return case


def case_values(case: ReadCase) -> tuple[str | int | None, ...]:
    return case.file, case.line, case.status, case.duration_ms, case.summary


def test_cases_of_json() -> None:
    cart, shop, discount = "cart.spec.ts > cart", "shop.spec.ts", "cart.spec.ts > cart > discount"
    wrong = f"Error: {EQUALITY}"
    assert [(case.suite, case.name, case.variant, *case_values(case)) for case in read_run(JSON).cases] == [
        (cart, "adds a product", DESKTOP, "cart.spec.ts", 5, "passed", 7, None),
        (cart, "adds a product", MOBILE, "cart.spec.ts", 5, "passed", 7, None),
        (cart, "writes an attachment", DESKTOP, "cart.spec.ts", 19, "failed", 41, f"{wrong} Expected: 3 Received: 1"),
        (cart, "writes an attachment", MOBILE, "cart.spec.ts", 19, "failed", 47, f"{wrong} Expected: 3 Received: 1"),
        (discount, "is applied once", DESKTOP, "cart.spec.ts", 10, "failed", 59, f"{wrong} Expected: 80 Received: 90"),
        (discount, "is applied once", MOBILE, "cart.spec.ts", 10, "failed", 37, f"{wrong} Expected: 80 Received: 90"),
        (discount, "is flaky", DESKTOP, "cart.spec.ts", 14, "passed", 20, None),
        (discount, "is flaky", MOBILE, "cart.spec.ts", 14, "passed", 23, None),
        (shop, "opens", DESKTOP, shop, None, "passed", 3, None),
        (shop, "closes at night", DESKTOP, shop, 5, "skipped", 0, None),
        (shop, "opens on Sundays", DESKTOP, shop, 7, "skipped", 0, None),
        (shop, "has known defect", DESKTOP, shop, None, "passed", 9, None),
        (shop, "passes unexpectedly", DESKTOP, shop, 14, "failed", 12, NOT_FAILED),
        (shop, "waits too long", DESKTOP, shop, 18, "failed", 4003, "Test timeout of 2000ms exceeded."),
        ("shop.spec.ts > checkout", "pays", DESKTOP, shop, 23, "failed", 6, "Error: card declined"),
        ("shop.spec.ts > checkout", "ships", DESKTOP, shop, 26, "skipped", 0, None),
    ]


def test_texts_output_and_files_of_json() -> None:
    case = of_desktop("writes an attachment")

    assert (case.started_at, case.message) == ("2026-11-25T16:41:38.626Z", f"Error: {EQUALITY}")
    assert case.details
    assert case.details.startswith(f"Error: {EQUALITY}\n\nExpected: 3\nReceived: 1\n\n  23 |")
    assert 'Expected: "b"\nReceived: "a"' in case.details
    assert case.details.endswith("    at /builds/shop/tests/cart.spec.ts:26:22")
    assert "\x1b" not in case.details
    assert case.output == {"attempt-1-stdout.txt": "prints a receipt\n", "stdout.txt": "prints a receipt\n"}
    assert list(case.files) == [
        "attempt-1-receipt.txt", "attempt-1-error-context.md", "receipt.txt", "error-context.md",
    ]  # fmt: skip
    assert str(case.files["receipt.txt"]).startswith(
        "/builds/shop/test-results/cart-cart-writes-an-attachment-desktop-retry1/"
    )
    unexpected = of_desktop("passes unexpectedly")
    assert (unexpected.type, unexpected.message, unexpected.details) == (None, NOT_FAILED, None)
    for product in (case for case in read_run(JSON).cases if case.name == "adds a product"):
        assert product.properties == {"tags": "smoke", "issue": "SHOP-7"}
        assert (product.started_at or "").startswith("2026-11-25T16:")


def test_attempts_of_json() -> None:
    case = of_desktop("is flaky")

    assert (case.flaky, case.attempt_count) == (True, 2)
    first, second = case.attempts
    assert (first.status, first.duration_ms, first.started_at) == ("failed", 11, "2026-11-25T16:41:37.828Z")
    assert (first.message, second.status, second.message) == (f"Error: {EQUALITY}", "passed", None)
    assert (second.type, second.details) == (None, None)
    assert case.duration_ms == sum(attempt.duration_ms or 0 for attempt in case.attempts)
    assert case.started_at == first.started_at
    assert (second.started_at or "") > "2026-11-25T16:41:37.828Z"


def test_run_of_json() -> None:
    run = read_run(JSON)

    # "startTime": "2026-11-25T16:41:35.008Z", "duration": 17807.874
    assert (run.started_at, run.completed_at) == ("2026-11-25T16:41:35.008Z", "2026-11-25T16:41:52.815Z")
    assert run.problems == ()


@pytest.mark.parametrize(
    ("file", "suite", "summary"),
    [
        ("playwright-defect.json", "defect.spec.ts", "Error: the fixture file is missing"),
        ("playwright-stopped.json", "", "Testing stopped early after 1 maximum allowed failures."),
    ],
)
def test_errors_outside_of_tests_of_json(file: str, suite: str, summary: str) -> None:
    case = read_case(OWN / file, "(suite)")

    assert (case.suite, case.status, case.summary, case.message) == (suite, "error", summary, summary)
    assert read_run(OWN / file).problems == ()


def test_cases_of_junit() -> None:
    suite, file = "chromium > cart.spec.ts", "cart.spec.ts"
    totals = "cart › totals — Σ ›"
    assert outline(JUNIT) == [
        (suite, f"{totals} adds items @smoke", file, None, "passed", 6, None),
        (suite, f"{totals} is wrong", file, None, "failed", 24, DEEP_EQUALITY),
        (suite, "cart › passes in the second attempt", file, None, "passed", 18, None),
        (suite, "cart › is skipped", file, None, "skipped", None, None),
        (suite, "cart › is skipped with a reason", file, None, "skipped", None, None),
        (suite, "cart › fixme", file, None, "skipped", None, None),
        (suite, "cart › expected failure", file, None, "passed", 2, None),
        (suite, "cart › was fixed", file, None, "failed", 6, "Expected to fail, but passed."),
        (suite, "cart › two soft failures", file, None, "failed", 25, EQUALITY),
        (suite, "cart › marker", file, None, "error", 8, "after the marker"),
        (suite, "cart › throws a string", file, None, "error", 8, "'plain <&>'"),
        (suite, "cart › ", file, None, "passed", 2, None),
        (suite, "hooks › first", file, None, "error", 0, "no database"),
        (suite, "hooks › second", file, None, "skipped", None, None),
        (suite, "step fails", file, None, "error", 26, "closed"),
    ]


def test_texts_output_and_files_of_junit() -> None:
    case = read_case(JUNIT, "cart › totals — Σ › is wrong")

    assert (case.type, case.message) == ("expect.toEqual", DEEP_EQUALITY)
    assert case.details
    assert case.details.startswith("[chromium] › cart.spec.ts:7:5 › cart › totals — Σ › is wrong ───")
    assert "\n    Retry #1 ───" in case.details
    assert case.output["system-out.txt"].startswith("\nto stdout [31mred[0m\n\n[[ATTACHMENT|test-results/")
    assert case.output["system-err.txt"] == "\nto stderr\nto stderr\n\n"
    assert case.files == {
        "attempt-1-error-context.md": "test-results/cart-cart-totals-—-Σ-is-wrong-chromium/error-context.md",
        "error-context.md": "test-results/cart-cart-totals-—-Σ-is-wrong-chromium-retry1/error-context.md",
    }


def test_output_with_only_files_is_omitted_and_retries_are_missing_in_junit() -> None:
    passed = read_case(JUNIT, "cart › passes in the second attempt")

    assert (passed.flaky, passed.attempt_count, passed.attempts) == (False, 1, ())
    assert [case.name for case in read_run(JUNIT).cases if case.output] == ["cart › totals — Σ › is wrong"]
    assert read_case(JUNIT, "step fails").files


def test_annotations_of_junit_are_properties() -> None:
    assert read_case(JUNIT, "cart › totals — Σ › adds items @smoke").properties == {"issue": "SHOP-7"}
    assert read_case(JUNIT, "cart › is skipped with a reason").properties == {"skip": "waits for SHOP-10"}


def test_run_of_junit() -> None:
    run = read_run(JUNIT)

    # timestamp="2026-11-25T19:10:28.730Z" time="9.391"
    assert (run.started_at, run.completed_at) == ("2026-11-25T19:10:28.730Z", "2026-11-25T19:10:38.121Z")
    assert run.problems == ()


def test_cases_of_ctrf() -> None:
    cart, file = "chromium > cart.spec.ts > cart", "cart.spec.ts"
    hooks, totals = "chromium > cart.spec.ts > hooks", "chromium > cart.spec.ts > cart > totals — Σ"
    assert outline(CTRF) == [
        ("chromium > cart.spec.ts", "step fails", file, None, "failed", 11, "Error: closed"),
        (cart, "passes in the second attempt", file, None, "passed", 7, None),
        (cart, "is skipped", file, None, "skipped", 0, None),
        (cart, "is skipped with a reason", file, None, "skipped", 3, None),
        (cart, "fixme", file, None, "skipped", 6, None),
        (cart, "expected failure", file, None, "passed", 2, None),
        (cart, "was fixed", file, None, "passed", 4, None),  # failed, according to the other reporters
        (cart, "two soft failures", file, None, "failed", 15, f"Error: {EQUALITY} Expected: 2 Received: 1"),
        (cart, "marker", file, None, "failed", 4, "Error: after the marker"),
        (cart, "throws a string", file, None, "failed", 5, None),
        (cart, file, file, None, "passed", 2, None),  # has no title
        (totals, "adds items @smoke", file, None, "passed", 6, None),
        (totals, "is wrong", file, None, "failed", 12, f"Error: {DEEP_EQUALITY}"),
        (hooks, "first", file, None, "failed", 0, "Error: no database"),
        (hooks, "second", file, None, "skipped", 0, None),
    ]


def test_times_attempts_and_properties_of_ctrf() -> None:
    run = read_run(CTRF)
    flaky = read_case(CTRF, "passes in the second attempt")

    # "start": 1795633828730, "stop": 1795633837995, but "start": 1795633831 of the test
    assert (run.started_at, run.completed_at) == ("2026-11-25T19:10:28.730Z", "2026-11-25T19:10:37.995Z")
    assert flaky.started_at == "2026-11-25T19:10:31.000Z"
    assert run.problems == ()
    assert (flaky.flaky, [attempt[:2] for attempt in flaky.attempts]) == (True, [("failed", 11), ("passed", 7)])
    assert read_case(CTRF, "adds items @smoke").properties == {"tags": "@smoke\n@cart", "issue": "SHOP-7"}
    assert read_case(CTRF, "is skipped with a reason").properties == {"skip": "waits for SHOP-10"}
    assert flaky.properties == {}


def test_output_and_files_of_ctrf() -> None:
    case = read_case(CTRF, "is wrong")

    assert case.output["stdout.txt"] == "to stdout \x1b[31mred\x1b[0m\n"
    assert case.output["stderr.txt"] == "to stderr\n"
    assert list(case.output) == ["attempt-1-snippet.txt", "stdout.txt", "stderr.txt", "snippet.txt"]
    assert list(case.files) == ["error-context.md"]
    assert read_case(CTRF, "step fails").output["steps.txt"] == "failed: opens the cart"
