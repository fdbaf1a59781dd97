"""Reports in CTRF: examples of the specification, mocha-ctrf-json-reporter, and pytest-json-ctrf."""

from typing import Final

from tests.reports.manifests import CORPUS, OWN
from tests.reports.tools.reading import needs_corpus, outline, read_case, read_run

COMPREHENSIVE: Final = CORPUS / "ctrf-spec-comprehensive.json"
PYTEST: Final = OWN / "pytest" / "ctrf.json"
SCREENSHOT: Final = "/artifacts/screenshots/admin-dashboard-fail.png"


@needs_corpus
def test_cases_of_the_specification() -> None:
    assert outline(COMPREHENSIVE) == [
        ("Authentication > Login", "user can login", "tests/auth/login.test.js", None, "passed", 3500, None),
        ("Checkout", "user can checkout", "tests/checkout/checkout.test.js", None, "passed", 5200, None),
        ("Admin > Dashboard", "admin dashboard loads", "tests/admin/dashboard.test.js", 42, "failed", 8000,
         "Element not found: .dashboard-metrics"),
    ]  # fmt: skip
    run = read_run(COMPREHENSIVE)
    assert (run.started_at, run.completed_at) == ("2021-01-01T00:00:00.000Z", "2021-01-01T00:00:20.000Z")
    assert run.problems == ()


@needs_corpus
def test_failed_case_of_the_specification() -> None:
    case = read_case(COMPREHENSIVE, "admin dashboard loads")

    assert case.started_at == "2021-01-01T00:00:13.900Z"
    snippet = "const metrics = await page.locator('.dashboard-metrics');\nawait expect(metrics).toBeVisible();"
    assert case.output == {
        "stdout.txt": "Loading admin dashboard\nChecking authentication",
        "stderr.txt": "Warning: Slow network detected\nError: Timeout waiting for .dashboard-metrics",
        "steps.txt": "passed: Navigate to dashboard\nfailed: Wait for metrics",
        "snippet.txt": snippet,
    }
    assert case.properties == {
        "tags": "regression", "priority": "P3", "severity": "2", "automated": "true", "externalId": "45677",
    }  # fmt: skip
    assert case.files["failure-screenshot.png"] == SCREENSHOT
    assert list(case.files)[1:] == ["trace.zip", "video.webm"]


@needs_corpus
def test_retries_of_the_specification() -> None:
    case = read_case(CORPUS / "ctrf-spec-retries.json", "flaky test")

    assert (case.status, case.flaky, case.duration_ms, case.attempt_count) == ("passed", True, 300, 3)
    assert [(attempt.status, attempt.duration_ms, attempt.message) for attempt in case.attempts] == [
        ("failed", 120, "Connection timeout"), ("failed", 130, "Connection timeout"), ("passed", 140, None),
    ]  # fmt: skip


@needs_corpus
def test_failed_case_of_mocha_ctrf() -> None:
    (case,) = [case for case in read_run(CORPUS / "gen-ctrf-mocha-express.json").cases if case.status == "failed"]

    # The same name occurs earlier in the report.
    assert case[:6] == ("app.all.js", "app.all() should add a router per method", 1, "app.all.js", None, "failed")
    assert (case.duration_ms, case.started_at, case.flaky) == (18, "2026-11-24T14:03:15.229Z", False)
    assert case.summary == case.message == "Error global leak(s) detected: '__ctrfMochaRuntime__'"
    assert case.details
    assert case.details.startswith("Error: global leak(s) detected: '__ctrfMochaRuntime__'\n    at Runner.emit")


def test_cases_of_pytest_json_ctrf() -> None:
    file = "tests/unit/test_cart.py"
    failed = {case.name.partition("::")[2]: case.summary for case in read_run(PYTEST).cases if case.status == "failed"}

    assert failed == {
        "test_param[2]": "AssertionError: line one",
        "test_output": "AssertionError: assert {'sum': 3} == {'sum': 4}",
        "test_xpass_strict": "[XPASS(strict)] was fixed",
        "test_setup_error": "ValueError: no database",
        "test_teardown_error": "RuntimeError: still open",
        "test_fails_and_teardown_error": "assert 1 == 2",
        "test_flaky": "assert 1 == 3",
        "test_always_fails": "assert 1 == 0",
        "test_raises": "KeyError: 'sku'",
    }
    nested = read_case(PYTEST, f"{file}::TestCart::TestTotals::test_nested")
    skipped = read_case(PYTEST, f"{file}::test_skipped")
    assert (nested.suite, nested.file, nested.status) == (f"{file} > TestCart > TestTotals", file, "passed")
    assert (skipped.suite, skipped.status, skipped.summary) == (file, "skipped", "waits for SHOP-10 <&>")
    run = read_run(PYTEST)
    assert (run.started_at, run.completed_at) == ("2026-11-25T18:56:29.949Z", "2026-11-25T18:56:30.077Z")
