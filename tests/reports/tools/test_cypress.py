"""Reports of Cypress, which contains mocha-junit-reporter. The failed report is hand-written."""

from typing import Final

from tests.reports.manifests import CORPUS, OWN
from tests.reports.tools.reading import needs_corpus, outline, read_case, read_run

PASSED: Final = CORPUS / "cypress-launchable.xml"
FAILED: Final = OWN / "cypress" / "failed.xml"
NOT_FOUND: Final = "Timed out retrying after 4000ms: Expected to find element: `.total`, but never found it."
SCREENSHOT: Final = "cart -- shows the total (failed).png"


@needs_corpus
def test_passed_cases() -> None:
    assert outline(PASSED) == [
        ("Window", "Window cy.window() - get the global window object", None, None, "passed", 149, None),
        ("Window", "Window cy.document() - get the document object", None, None, "passed", 78, None),
        ("Window", "Window cy.title() - get the title", None, None, "passed", 88, None),
    ]
    # declares tests="6"
    assert read_run(PASSED).problems == ("tests: the report declares 6, but contains 3",)
    root_suite = CORPUS / "cypress-empty-root-suite.xml"
    assert outline(root_suite) == [("Visual Testing", "Test navigation", None, None, "passed", 15943, None)]


def test_failed_case() -> None:
    assert outline(FAILED) == [
        ("cart", "cart adds an item", None, None, "passed", 149, None),
        ("cart", "cart shows the total — Σ", None, None, "failed", 0, NOT_FOUND),
    ]
    case = read_case(FAILED, "cart shows the total — Σ")
    assert (case.type, case.message) == ("AssertionError", NOT_FOUND)
    assert case.details == (
        f"AssertionError: {NOT_FOUND}\n    at Context.eval (webpack://shop/./cypress/e2e/cart.cy.js:7:7)"
    )
    assert (case.output, case.properties, case.flaky) == ({}, {}, False)
    assert case.files == {SCREENSHOT: f"cypress/screenshots/cart.cy.js/{SCREENSHOT}"}


def test_times_without_a_zone_are_unknown() -> None:
    run = read_run(FAILED)

    # timestamp="2026-11-25T18:49:02" time="4.2310"
    assert (run.started_at, run.completed_at, run.problems) == ("2026-12-31T23:59:55.769Z", None, ())
