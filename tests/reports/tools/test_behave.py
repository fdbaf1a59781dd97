"""Reports of Behave."""

from typing import Final

from tests.reports.manifests import CORPUS, OWN
from tests.reports.tools.reading import needs_corpus, outline, read_case, read_run

CART: Final = OWN / "behave" / "TESTS-cart.xml"
HOOK: Final = OWN / "behave" / "TESTS-hook.xml"
SUITE: Final = "cart.Cart — Warenkorb"
LINE: Final = "-" * 80
UNDEFINED: Final = "Failing step: When nobody wrote this step ... undefined in 0.000s"
HOOK_ERROR: Final = "HOOK-ERROR in before_scenario: RuntimeError: no database"


def test_cases() -> None:
    assert outline(CART) == [
        (SUITE, "Adds an item", None, None, "passed", 1, None),
        (SUITE, "Wrong total", None, None, "failed", 1, "total is 1"),
        (SUITE, "Raises", None, None, "error", 1, "'sku'"),
        (SUITE, "Undefined step", None, None, "error", 1, UNDEFINED),
        (SUITE, "Skipped scenario", None, None, "skipped", 0, None),
        (SUITE, "Totals 2 -- @1.1 small", None, None, "passed", 1, None),
        (SUITE, "Totals 3 -- @1.2 small", None, None, "failed", 1, "total is 3"),
    ]
    assert outline(HOOK) == [("hook.Hook", "Hook fails", None, None, "error", 0, HOOK_ERROR)]


def test_times_without_a_zone_are_unknown() -> None:
    run = read_run(CART)

    # timestamp="2026-11-25T18:56:31.498522" time="0.002054"
    assert (run.started_at, run.completed_at) == ("2026-12-31T23:59:59.997Z", None)
    assert (run.problems, {case.started_at for case in run.cases}) == ((), {None})


def test_texts_and_output_of_a_failed_scenario() -> None:
    case = read_case(CART, "Wrong total")

    assert (case.type, case.message) == ("AssertionError", "total is 1\nexpected 2 <&>")
    assert case.details == (
        "Failing step: Then the total is 2 ... failed in 0.000s\nLocation: features/cart.feature:14\n"
        "ASSERT FAILED: total is 1\nexpected 2 <&>"
    )
    assert case.output == {
        "system-out.txt": (
            "\n\n@scenario.begin\n  Scenario: Wrong total\n    Given a cart ... passed in 0.000s\n"
            "    When it has 1 items ... passed in 0.000s\n    Then the total is 2 ... failed in 0.000s\n\n"
            f"@scenario.end\n{LINE}\n\nCaptured stdout:\ncart red created\n\n\n"
        ),
        "system-err.txt": "\n\nCaptured stderr:\nto stderr\n\n\n",
    }
    assert (case.properties, case.flaky, case.attempt_count) == ({}, False, 1)


def test_undefined_step_has_no_error() -> None:
    case = read_case(CART, "Undefined step")

    assert (case.type, case.message) == ("NoneType", "None")
    assert case.details == f"{UNDEFINED}\nLocation: features/cart.feature:21\nNone"


@needs_corpus
def test_suite_whose_time_is_zero() -> None:
    run = read_run(CORPUS / "gen-behave-tags.help.xml")

    # time="0.0", but the time of the first case is 0.134909
    assert [case.duration_ms for case in run.cases][:1] == [135]
    assert (run.started_at, run.completed_at) == ("2027-01-01T00:00:00.000Z", None)
