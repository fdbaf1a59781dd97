"""Results of Allure, each folder as one upload: pytest, Mocha, Jest, Vitest, and Playwright."""

from pathlib import Path
from typing import Final

from tests.reports.manifests import OWN
from tests.reports.tools.reading import outline, read_case, read_run

PYTEST: Final = OWN / "allure" / "pytest"
MOCHA: Final = OWN / "allure" / "mocha"
JEST: Final = OWN / "allure" / "jest"
VITEST: Final = OWN / "allure" / "vitest"
PLAYWRIGHT: Final = OWN / "allure" / "playwright"
PLAYWRIGHT_2: Final = OWN / "allure" / "playwright-2"
CART: Final = "pytest > tests.test_cart"
FIXTURES: Final = "pytest > tests.test_fixtures"
RETRIES: Final = "pytest > tests.test_retries"
CART_FILE: Final = "tests/test_cart.py"
FIXTURES_FILE: Final = "tests/test_fixtures.py"
RETRIES_FILE: Final = "tests/test_retries.py"


def test_cases_of_pytest() -> None:
    assert outline(PYTEST) == [
        (CART, "test_adds", CART_FILE, None, "passed", 1, None),
        (CART, "test_price[pen \\u2014 \\u20ac-2.5]", CART_FILE, None, "passed", 0, None),
        (CART, "test_price[pen \\u2014 \\u20ac--1]", CART_FILE, None, "failed", 0,
         "AssertionError: price must be positive"),
        (f"{CART}.TestTotals", "test_total[0]", CART_FILE, None, "passed", 0, None),
        (f"{CART}.TestTotals", "test_total[3]", CART_FILE, None, "failed", 0, "AssertionError: assert 3 == 0"),
        (f"{CART}.TestTotals", "test_currency", CART_FILE, None, "skipped", 0, "Skipped: no currency"),
        (f"{CART}.TestTotals", "test_rounding", CART_FILE, None, "skipped", 1, "XFAIL rounding"),
        (f"{CART}.TestTotals.TestNested", "test_broken", CART_FILE, None, "error", 4, "KeyError: 'vat'"),
        (FIXTURES, "test_orders", FIXTURES_FILE, None, "error", 0, "ConnectionError: no database"),
        (FIXTURES, "test_payments", FIXTURES_FILE, None, "error", 0, "ConnectionError: no database"),
        (FIXTURES, "test_close", FIXTURES_FILE, None, "error", 0, "OSError: can't close"),
        (FIXTURES, "test_first", FIXTURES_FILE, None, "passed", 0, None),
        (FIXTURES, "test_second", FIXTURES_FILE, None, "error", 0, "OSError: can't stop the server"),
        (RETRIES, "test_flaky", RETRIES_FILE, None, "passed", 13, None),
        (RETRIES, "test_always_fails", RETRIES_FILE, None, "failed", 1, "AssertionError: assert 1 == 2"),
        (CART, "test_password", CART_FILE, None, "passed", 0, None),
    ]  # fmt: skip


def test_cases_of_pytest_are_those_of_its_junit_xml() -> None:
    """Allure reports an error other than a failed assertion as broken."""
    junit = {(case.suite, case.name): case for case in read_run(OWN / "allure" / "pytest-junit.xml").cases}
    allure = {(case.suite, case.name): case for case in read_run(PYTEST).cases}

    assert allure.keys() == junit.keys()
    differing = {
        key[1]: (junit[key].status, case.status) for key, case in allure.items() if case[5:7] != junit[key][5:7]
    }
    assert differing == {"test_broken": ("failed", "error")}


def test_run_of_pytest() -> None:
    run = read_run(PYTEST)

    # The least "start" and the greatest "stop" are 1795968058675 and 1795968058916.
    assert (run.started_at, run.completed_at) == ("2026-11-29T16:00:58.675Z", "2026-11-29T16:00:58.916Z")
    assert [problem.partition(", such as")[0] for problem in run.problems] == ["files without results: 8 were ignored"]
    assert not run.failures_missing


def test_labels_links_and_titles_of_pytest() -> None:
    assert read_case(PYTEST, "test_adds").properties == {
        "epic": "Shop", "severity": "critical", "tags": "slow", "issue": "https://bugs.example.com/SHOP-7",
    }  # fmt: skip
    assert read_case(PYTEST, "test_total[0]").properties == {
        "tags": "totals\nfast", "owner": "team-cart", "title": "The total of 0 items",
    }  # fmt: skip


def test_masked_parameter_of_pytest_is_not_stored() -> None:
    assert read_case(PYTEST, "test_password").properties == {"build": "'77'"}
    assert not any("s3cret" in repr(case) for folder in (PYTEST, MOCHA) for case in read_run(folder).cases)


def test_texts_and_files_of_pytest() -> None:
    failed = read_case(PYTEST, "test_price[pen \\u2014 \\u20ac--1]")
    closed = read_case(PYTEST, "test_close")

    assert failed.message == "AssertionError: price must be positive\nassert -1 > 0"
    assert failed.details
    assert failed.details.startswith("cart = [], item = 'pen — €', price = -1\n\n    @pytest.mark.parametrize(")
    assert failed.output["steps.txt"] == (
        "failed: Add 'pen — €' (cart=[], item='pen — €', price=-1)\n"
        "  failed: check the price\n"
        "    AssertionError: price must be positive\n"
        "    assert -1 > 0"
    )
    assert list(failed.files) == ["before.txt"]  # of a fixture
    assert closed.output["steps.txt"] == "broken: closed::1\n  OSError: can't close"
    assert list(closed.files) == ["page.png"]


def test_retries_of_pytest_are_attempts() -> None:
    case = read_case(PYTEST, "test_flaky")

    assert case.flaky
    assert [(each.status, each.started_at, each.message) for each in case.attempts] == [
        ("failed", "2026-11-29T16:00:58.867Z", "AssertionError: attempt 1\nassert 1 == 3"),
        ("failed", "2026-11-29T16:00:58.892Z", "AssertionError: attempt 2\nassert 2 == 3"),
        ("passed", "2026-11-29T16:00:58.897Z", None),
    ]
    assert list(case.files) == ["attempt-1-log.txt", "attempt-2-log.txt", "log.txt"]


def test_cases_of_mocha() -> None:
    file = "test/cart.test.js"
    assert outline(MOCHA) == [
        (file, "has no suite", file, None, "passed", 1, None),
        (f"{file} > cart", "throws an error", file, None, "error", 10, "no stock"),
        (f"{file} > cart", "is skipped", file, None, "skipped", 0, "Test skipped"),
        (f"{file} > cart", "is pending", file, None, "skipped", 0, "Test skipped"),
        (f"{file} > cart", "passes in the second attempt", file, None, "passed", 25, None),
        (f"{file} > cart > totals", "is wrong", file, None, "failed", 17,
         "Expected values to be strictly equal: 3 !== 4"),
        (f"{file} > teardown", '"after all" hook: disconnects', None, None, "error", None, "still open"),
        (f"{file} > teardown", "passes", file, None, "passed", 0, None),
        (f"{file} > cart > totals", "adds items[currency=EUR, token=******]", file, None, "passed", 26, None),
        ("", "(suite)", None, None, "error", None, '"before all" hook: connects failed: no database'),
    ]  # fmt: skip


def test_title_that_a_test_sets_is_a_property() -> None:
    case = read_case(MOCHA, "is wrong")

    assert case.properties == {"title": "a title that only a started test has"}
    assert case.output["steps.txt"] == (
        'passed: "before each" hook 9 ms\n  page\n'
        "failed: sum 1 ms\n  Expected values to be strictly equal:\n  \n  3 !== 4"
    )


def test_retries_of_mocha_are_attempts_with_their_own_files() -> None:
    case = read_case(MOCHA, "passes in the second attempt")

    assert (case.flaky, [each.status for each in case.attempts]) == (True, ["failed", "passed"])
    assert (list(case.files), case.properties) == (["attempt-1-page.txt", "page.txt"], {"Retry": "1"})


def test_cases_of_jest() -> None:
    """allure-jest doesn't state that an execution is a retry, so that each one is an occurrence."""
    file = "src/cart.test.js"
    equality = "expect(received).toBe(expected) // Object.is equality Expected: 4 Received: 3"
    retried = equality.replace("4 Received: 3", "2 Received: 1")
    assert outline(JEST) == [
        (f"{file} > cart > totals", "adds items", file, None, "passed", 6, None),
        (f"{file} > cart > totals", "is wrong", file, None, "failed", 61, equality),
        (f"{file} > cart > totals", "is wrong", file, None, "failed", 61, equality),
        (f"{file} > cart", "adds 1 and 2", file, None, "passed", 1, None),
        (f"{file} > cart", "adds 3 and 4", file, None, "passed", 1, None),
        (f"{file} > cart", "is skipped", file, None, "skipped", None, None),
        (f"{file} > cart", "is planned", file, None, "skipped", None, "TODO"),
        (f"{file} > cart", "passes in the second attempt", file, None, "failed", 1, retried),
        (f"{file} > cart", "passes in the second attempt", file, None, "passed", 1, None),
        (f"{file} > hooks", "never runs", file, None, "error", None, "no database"),
        (f"{file} > teardown", "afterAll", None, None, "error", 8, "still open"),
        (f"{file} > teardown", "passes", file, None, "passed", 0, None),
    ]
    assert any(problem.startswith("historyId: results that repeat") for problem in read_run(JEST).problems)


def test_cases_of_vitest_are_those_of_its_junit_xml() -> None:
    """allure-vitest omits skipped tests, writes no status of a todo, and reports hooks as errors of the run."""
    file = "test/cart.test.mjs"
    junit = {(case.suite, case.name): case.status for case in read_run(OWN / "allure" / "vitest-junit.xml").cases}
    allure = {(case.suite, case.name): case.status for case in read_run(VITEST).cases if case.suite}

    assert allure.keys() < junit.keys()
    assert [case for case, status in allure.items() if junit[case] != status] == [(file, "cart > is planned")]
    assert junit.keys() - allure.keys() == {(file, "cart > is skipped"), (file, "hooks"), (file, "teardown")}


def test_test_without_a_status_is_an_error_and_the_receipt_names_its_file() -> None:
    run = read_run(VITEST)

    assert read_case(VITEST, "cart > is planned").status == "error"
    file = "0e40c0c9-a0ee-4587-9970-ec2382e3e786-result.json"
    assert f"{file}: status: unknown status: the status is missing; stored as error" in run.problems


def test_errors_of_the_run_are_results_in_the_order_of_their_times() -> None:
    errors = [(case.occurrence, case.started_at, case.message) for case in read_run(VITEST).cases if not case.suite]

    assert errors == [
        (0, "2026-11-29T16:01:13.018Z", "beforeAll hook failed: no database"),
        (1, "2026-11-29T16:01:13.024Z", "afterAll hook failed: still open"),
    ]


def test_cases_of_playwright_are_those_of_its_json_report() -> None:
    assert [(case.suite, case.name, case.variant) for case in read_run(PLAYWRIGHT).cases] == [
        (suite, name, f'{{"project":"{project}"}}')
        for project in ("chromium", "firefox")
        for suite, name in (
            ("cart.spec.js > cart", "adds items"),
            ("cart.spec.js > cart > totals", "is wrong"),
            ("cart.spec.js > cart", "passes in the second attempt"),
        )
    ]
    _expect_cases_of_json_report(PLAYWRIGHT)


def test_cases_of_version_2_of_allure_playwright_are_those_of_the_json_report() -> None:
    """It states no `titlePath`, no number of a retry, and the project as a parameter."""
    assert [(case.suite, case.name) for case in read_run(PLAYWRIGHT_2).cases[:3]] == [
        ("cart/cart.spec.js", "has no suite"),
        ("cart/cart.spec.js > cart", "passes in the second attempt"),
        ("cart/cart.spec.js > cart > totals", "is wrong"),
    ]
    _expect_cases_of_json_report(PLAYWRIGHT_2)


def _expect_cases_of_json_report(folder: Path) -> None:
    json = {case.key: case for case in read_run(folder.with_name(f"{folder.name}.json")).cases}
    allure = {case.key: case for case in read_run(folder).cases}

    assert allure.keys() == json.keys()
    for key, case in allure.items():
        other = json[key]
        assert (case.status, case.flaky, case.file) == (other.status, other.flaky, other.file)
        assert [attempt.status for attempt in case.attempts] == [attempt.status for attempt in other.attempts]
