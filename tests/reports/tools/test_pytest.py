"""Reports of pytest, pytest-rerunfailures, and pytest-json-ctrf."""

from typing import Final

import pytest

from tests.reports.manifests import OWN
from tests.reports.tools.reading import outline, read_case, read_run

RERUNS: Final = OWN / "pytest" / "reruns.xml"  # with junit_logging=all and --reruns 2
XUNIT1: Final = OWN / "pytest" / "xunit1.xml"
CTRF: Final = OWN / "pytest" / "ctrf.json"
CART: Final = "pytest > tests.unit.test_cart"
FILE: Final = "tests/unit/test_cart.py"
NO_MODULE: Final = "ModuleNotFoundError: No module named 'missing_module'"
NO_DATABASE: Final = 'failed on setup with "ValueError: no database"'
STILL_OPEN: Final = 'failed on teardown with "RuntimeError: still open"'
SUMS_DIFFER: Final = "AssertionError: assert {'sum': 3} == {'sum': 4}"
LOG: Final = "--------------------------------- Captured Log ---------------------------------\n"
OUT: Final = "--------------------------------- Captured Out ---------------------------------\n"
ERR: Final = "--------------------------------- Captured Err ---------------------------------\n"


def test_cases_with_reruns() -> None:
    """Only failures state a file: that of the traceback."""
    assert outline(RERUNS) == [
        ("pytest", "tests.unit.test_broken", "tests/unit/test_broken.py", None, "error", 0, NO_MODULE),
        (f"{CART}.TestCart.TestTotals", "test_nested", None, None, "passed", 0, None),
        (CART, "test_param[1]", None, None, "passed", 1, None),
        (CART, "test_param[2]", FILE, None, "failed", 3, "AssertionError: line one"),
        (CART, "test_param[\\xe9/\\xfc]", None, None, "passed", 0, None),
        (CART, "test_param[]", None, None, "passed", 7, None),
        (CART, "test_param[a::b]", None, None, "passed", 0, None),
        (CART, "test_param[x\\ny]", None, None, "passed", 0, None),
        (CART, "test_output", FILE, None, "failed", 21, SUMS_DIFFER),
        (CART, "test_passes_with_property", None, None, "passed", 0, None),
        (CART, "test_skipped", None, None, "skipped", 0, "waits for SHOP-10 <&>"),
        (CART, "test_xfail", None, None, "skipped", 0, "known bug"),
        (CART, "test_xpass_strict", None, None, "failed", 0, "[XPASS(strict)] was fixed"),
        (CART, "test_setup_error", FILE, None, "error", 0, NO_DATABASE),
        (CART, "test_teardown_error", FILE, None, "error", 0, STILL_OPEN),
        (CART, "test_fails_and_teardown_error", FILE, None, "error", 1, "assert 1 == 2"),
        (CART, "test_flaky", None, None, "passed", 0, None),
        (CART, "test_always_fails", FILE, None, "failed", 0, "assert 3 == 0"),
        (CART, "test_raises", FILE, None, "failed", 0, "KeyError: 'sku'"),
        (CART, "test_prüft_ñ", None, None, "passed", 0, None),
    ]


def test_file_and_line_with_xunit1() -> None:
    assert outline(XUNIT1) == [
        ("tests/unit/test_broken.py > pytest", "tests.unit.test_broken", "tests/unit/test_broken.py", None, "error", 0,
         NO_MODULE),
        (f"{CART}.TestCart.TestTotals", "test_nested", FILE, None, "passed", 0, None),
        (CART, "test_param[1]", FILE, None, "passed", 0, None),
        (CART, "test_param[2]", FILE, 16, "failed", 0, "AssertionError: line one"),
        (CART, "test_param[\\xe9/\\xfc]", FILE, None, "passed", 0, None),
        (CART, "test_param[]", FILE, None, "passed", 0, None),
        (CART, "test_param[a::b]", FILE, None, "passed", 0, None),
        (CART, "test_param[x\\ny]", FILE, None, "passed", 0, None),
        (CART, "test_output", FILE, 21, "failed", 1, SUMS_DIFFER),
        (CART, "test_passes_with_property", FILE, 32, "passed", 0, None),
        (CART, "test_skipped", FILE, 37, "skipped", 0, "waits for SHOP-10 <&>"),
        (CART, "test_xfail", FILE, 42, "skipped", 0, "known bug"),
        (CART, "test_xpass_strict", FILE, 47, "failed", 0, "[XPASS(strict)] was fixed"),
        (CART, "test_setup_error", FILE, 64, "error", 0, NO_DATABASE),
        (CART, "test_teardown_error", FILE, 68, "error", 0, STILL_OPEN),
        (CART, "test_fails_and_teardown_error", FILE, 72, "error", 0, "assert 1 == 2"),
        (CART, "test_flaky", FILE, 76, "failed", 1, "assert 1 == 3"),
        (CART, "test_always_fails", FILE, 82, "failed", 0, "assert 1 == 0"),
        (CART, "test_raises", FILE, 87, "failed", 0, "KeyError: 'sku'"),
        (CART, "test_prüft_ñ", FILE, None, "passed", 0, None),
    ]  # fmt: skip


def test_times_of_the_run() -> None:
    run = read_run(RERUNS)

    # timestamp="2026-11-25T18:56:28.004479+00:00" time="0.303"
    assert (run.started_at, run.completed_at) == ("2026-11-25T18:56:28.004Z", "2026-11-25T18:56:28.307Z")
    assert (run.problems, run.failures_missing) == ((), False)
    assert {case.started_at for case in run.cases} == {None}


def test_texts_of_a_failure() -> None:
    case = read_case(RERUNS, "test_param[2]")

    assert case.type is None
    assert case.message == "AssertionError: line one\n  line #x1B[31mred#x1B[0m\nassert 2 != 2"
    assert case.details == (
        'value = 2\n\n    @pytest.mark.parametrize("value", [1, 2, "é/ü", "", "a::b", "x\\ny"])\n'
        "    def test_param(value):\n"
        '>       assert value != 2, "line one\\nline \\x1b[31mred\\x1b[0m"\n'
        "E       AssertionError: line one\nE         line #x1B[31mred#x1B[0m\nE       assert 2 != 2\n\n"
        "tests/unit/test_cart.py:18: AssertionError"
    )


def test_type_and_message_of_a_skip() -> None:
    case = read_case(RERUNS, "test_skipped")

    assert (case.type, case.message) == ("pytest.skip", "waits for SHOP-10 <&>")
    assert case.details == "/builds/shop/py/tests/unit/test_cart.py:37: waits for SHOP-10 <&>"


def test_output_and_properties() -> None:
    case = read_case(RERUNS, "test_output")

    # The plugin repeats output and properties of the earlier attempts.
    logged = "WARNING  shop:test_cart.py:27 logged\n" * 3
    stdout, stderr = "to stdout #x1B[1mbold#x1B[0m\n" * 3, "to stderr\n" * 3
    assert case.output == {
        "system-out.txt": f"{LOG}{logged}{OUT}{stdout}\n",
        "system-err.txt": f"{ERR}{stderr}\n",
    }
    assert case.properties == {"issue": "SHOP-7\nSHOP-8", "owner": "zoë & co"}
    assert read_case(XUNIT1, "test_output").properties == {"issue": "SHOP-7\nSHOP-8", "owner": "zoë & co"}
    assert read_case(XUNIT1, "test_passes_with_property").properties == {"issue": "SHOP-9"}


def test_headings_without_output_are_omitted() -> None:
    assert {case.name for case in read_run(RERUNS).cases if case.output} == {"test_output", "test_setup_error"}
    in_setup = "in setup\n" * 3
    assert read_case(RERUNS, "test_setup_error").output == {"system-out.txt": f"{LOG}\n{OUT}{in_setup}\n"}


@pytest.mark.parametrize(
    ("name", "statuses", "flaky"),
    [
        ("test_flaky", ["failed", "failed", "passed"], True),
        ("test_always_fails", ["failed", "failed", "failed"], False),
        ("test_teardown_error", ["failed", "failed", "error"], False),
        ("test_fails_and_teardown_error", ["failed", "failed", "error"], False),
    ],
)
def test_reruns_are_attempts(name: str, statuses: list[str], flaky: bool) -> None:
    case = read_case(RERUNS, name)

    assert ([attempt.status for attempt in case.attempts], case.flaky) == (statuses, flaky)
    assert (case.attempt_count, case.occurrence) == (3, 0)
    # The report contains no texts of the earlier attempts.
    assert {(attempt.message, attempt.details) for attempt in case.attempts[:-1]} == {(None, None)}


def test_durations_of_attempts_add_up() -> None:
    case = read_case(RERUNS, "test_output")

    assert [attempt.duration_ms for attempt in case.attempts] == [15, 4, 2]
    assert case.duration_ms == 21


def test_failure_and_teardown_error_are_one_attempt() -> None:
    case = read_case(XUNIT1, "test_fails_and_teardown_error")

    assert (case.status, case.attempt_count, case.message) == ("error", 1, "assert 1 == 2")
    assert case.details
    assert "tests/unit/test_cart.py:73: AssertionError\n\n" + STILL_OPEN in case.details
    assert case.details.endswith("tests/unit/test_cart.py:61: RuntimeError")
