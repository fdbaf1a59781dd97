"""The summary of a failure, from texts that real tools write."""

import time

import pytest

from service.failures.model import FAILING_STEP, MAX_SUMMARY, strip_escapes, summarize_failure

GO = "=== RUN   TestPays\n    pays_test.go:12: expected 1, got 2\n--- FAIL: TestPays (0.00s)\n"
JEST = "\x1b[31mexpect(\x1b[39mreceived\x1b[31m).toBe(\x1b[39mexpected\x1b[31m)\x1b[39m\n\nExpected: 2\nReceived: 1"
NEXTEST = "thread 'pays' panicked at src/lib.rs:5:9:\nassertion `left == right` failed\n  left: 1\n right: 2"
PYTEST = "ImportError while importing 'test_cart.py'.\nTraceback:\ntest_cart.py:1: in <module>\n    import cart\n"
PYTEST += "E   ModuleNotFoundError: No module named 'cart'"
JEST_FILE = "  ● Test suite failed to run\n\n    Cannot find module './cart'\n"
MINITEST = "Failure:\nShopTest#test_pays [test/shop_test.rb:4]:\nExpected: 1\n  Actual: 2"
PHPUNIT = "ShopTest::testPays\nFailed asserting that false is true.\n\ntests/ShopTest.php:12"
MINITEST_LINE = "Failure: ShopTest#test_größe <ü> [test/shop_test.rb:4]: Expected: 1   Actual: 2 "
DATA_SET = 'Shop\\CartTest::testRate with data set "a b"\nFailed asserting that 2 is 3.'
MSTEST = "Test method Shop.CartTest.Pays threw exception:\n  Shop.NoCardException: no card"
CATCH2 = "FAILED:\n  REQUIRE( total == 1 )\nwith expansion:\n  2 == 1\nat tests.cpp:3"
PYTHON = 'Traceback (most recent call last):\n  File "shop.py", line 3, in pay\n    charge()\nValueError: no card'
JAVA = "java.lang.AssertionError\n\tat org.junit.Assert.fail(Assert.java:86)\n\tat shop.PayTest.pays(PayTest.java:9)"
MOCHA = "AssertionError: expected 1 to equal 2\n    at Context.<anonymous> (test/pay.js:9:14)"


PLAYWRIGHT = "  [chromium] › cart.spec.ts:3:5 › adds ─────\n\n    Test timeout of 1ms exceeded.\n"


@pytest.mark.parametrize(
    ("type_", "message", "details", "summary"),
    [
        pytest.param(None, "Failed", GO, "pays_test.go:12: expected 1, got 2", id="gotestsum"),
        pytest.param(None, "Runtime error", "panic: timed out", "panic: timed out", id="go-junit-report"),
        pytest.param("", "cart_test.cc:7\nValue of: false", None, "Value of: false", id="googletest"),
        pytest.param("FAILURE", "cart.spec.ts:3:5 adds", PLAYWRIGHT, "Test timeout of 1ms exceeded.", id="playwright"),
        pytest.param(None, "cart.ts:3:5: error TS2304: x", None, "cart.ts:3:5: error TS2304: x", id="compiler"),
        pytest.param(None, JEST, None, "expect(received).toBe(expected) Expected: 2 Received: 1", id="jest"),
        pytest.param(None, "test failure", NEXTEST, "assertion `left == right` failed left: 1 right: 2", id="nextest"),
        pytest.param(None, None, MINITEST, "Expected: 1 Actual: 2", id="minitest"),
        pytest.param("Error", None, PHPUNIT, "Failed asserting that false is true.", id="phpunit"),
        pytest.param(
            None,
            "thread 'pays' (7) panicked at a.rs:5:9",
            NEXTEST,
            "assertion `left == right` failed left: 1 right: 2",
            id="rust",
        ),
        pytest.param(None, MINITEST_LINE, "shop_test.rb:4", "Expected: 1 Actual: 2", id="minitest-junit"),
        pytest.param(None, None, MINITEST.replace("pays", "a b"), "Expected: 1 Actual: 2", id="minitest with spaces"),
        pytest.param("Error", None, DATA_SET, "Failed asserting that 2 is 3.", id="phpunit data set"),
        pytest.param(None, "Skipped", "    a_test.go:5: no card", "a_test.go:5: no card", id="skipped by go test"),
        pytest.param(None, MSTEST, None, "Shop.NoCardException: no card", id="mstest"),
        pytest.param(None, CATCH2, None, "REQUIRE( total == 1 )", id="catch2"),
        pytest.param("ValueError", None, PYTHON, "ValueError: no card", id="python"),
        pytest.param("java.lang.AssertionError", None, JAVA, "java.lang.AssertionError", id="surefire"),
        pytest.param("AssertionError", None, MOCHA, "AssertionError: expected 1 to equal 2", id="mocha"),
        pytest.param("AssertionError", "assert 1 == 2", "def test():\n>  assert 1 == 2", "assert 1 == 2", id="pytest"),
        pytest.param(
            None, "collection failure", PYTEST, "ModuleNotFoundError: No module named 'cart'", id="collection"
        ),
        pytest.param(None, None, JEST_FILE, "Cannot find module './cart'", id="jest file"),
        pytest.param(
            None, "Parent suite setup failed:\nno card", None, "Parent suite setup failed: no card", id="robot"
        ),
        pytest.param(
            None, "cart.cc:7\nValues:\n  a\n    Which is: 3\n  4", None, "Values: a Which is: 3 4", id="values"
        ),
        pytest.param(None, "unknown file\nC++ exception", None, "C++ exception", id="c++ exception"),
        pytest.param("NoneType", "None", "Failing step: Given a cart", "Failing step: Given a cart", id="behave"),
        pytest.param("SKIP", None, "SKIPPED\nno network", "no network", id="catch2 skip"),
        pytest.param(
            None, "line [31mred[0m #x1B[1mbold#x1B[0m \\u001b[2mx\\x1b[0m", None, "line red bold x", id="colors"
        ),
        pytest.param(None, "exceeded [30m] of [5m", None, "exceeded [30m] of [5m", id="durations"),
        pytest.param("java.io.IOException", "java.io.IOException", "disk full", "disk full", id="bare class"),
        pytest.param("Timeout", None, None, "Timeout", id="only a type"),
        pytest.param(None, "FAIL", None, "FAIL", id="only an uninformative message"),
        pytest.param(None, "\n \n", "", None, id="blank"),
        pytest.param(None, None, None, None, id="nothing"),
    ],
)
def test_summary_is_the_first_informative_line(
    type_: str | None, message: str | None, details: str | None, summary: str | None
) -> None:
    assert summarize_failure(type_, message, details) == summary


# Texts of each tool, as in its reports.
NUNIT = '  String lengths are both 3. Strings differ at index 0.\r\n  Expected: "abc"\r\n  But was:  "xbc"\r\n'
XUNIT = "Assert.Equal() Failure\r\n          ↓ (pos 0)\r\nExpected: abc\r\nActual:   xbc\r\n          ↑ (pos 0)"
XUNIT_3 = 'Assert.Contains() Failure: Sub-string not found\nString:    "abc"\nNot found: "x"'
GTEST = "cart_test.cc:8\nValue of: 112\n  Actual: 112\nExpected: is less than 5\n"
HAMCREST = "\nExpected: <100.10>\n     but: was <100.11>"
TESTIFY = """    cart_test.go:9:
        \tError Trace:\t/src/cart_test.go:9
        \t            \t/src/helpers.go:33
        \tError:      \tNot equal:
        \t            \texpected: 1
        \t            \tactual  : 2"""
HSPEC = 'tests/CartSpec.hs:19:12\n\nexpected: "False"\n but got: "True"\n'
CODECEPTION = "CartCest: Navigate and check\nFailed asserting that two strings are equal.\n/app/CartCest.php:9"
CARGO = "thread 'pays' panicked at 'assertion failed: `(left == right)`\n  left: `4`,\n right: `3`', src/lib.rs:10:9\n"
CARGO_BOOM = "thread 'tests::pays' panicked at 'no card', src/lib.rs:10:9\nnote: Run with `RUST_BACKTRACE=1`"
XCODE = "Expectation failed: (total → 5) < 3 (/src/CartTests.swift#EndingLineNumber=13&StartingLineNumber=13)"
CUCUMBER = "Scenario: Pay\n\nThen the total is 3\n\nMessage:\n\n{}"
CUCUMBER_FAILED = CUCUMBER.format("\nexpected: 3\n     got: 4\n\n(compared using ==)\n./steps.rb:29:in `nil'")
CUCUMBER_UNDEFINED = CUCUMBER.format('Undefined step: "the total is 3" (Cucumber::Core::Test::Result::Undefined)')
CUCUMBER_STEPS = "Given a cart.........passed\nThen the total is 3...undefined"
TRACEBACK = "Traceback (most recent call last):\n" + '  File "shop.py", line 3, in pay\n    charge()\n' * 300
CHAINED = f"{PYTHON}\n\nDuring handling of the above exception, another exception occurred:\n\n{PYTHON}, no cash"
PHPUNIT_DIFF = (
    "CartTest::testName\nFailed asserting that two strings are equal.\n--- Expected\n+++ Actual\n@@ @@\n-'a'\n+'b'"
)


@pytest.mark.parametrize(
    ("message", "details", "summary"),
    [
        pytest.param("Expected: True\r\n  But was:  False", None, "Expected: True But was: False", id="nunit"),
        pytest.param(
            NUNIT, None, 'String lengths are both 3. Strings differ at index 0. Expected: "abc" But was: "xbc"',
            id="nunit strings",
        ),
        pytest.param(XUNIT, None, "Assert.Equal() Failure Expected: abc Actual: xbc", id="xunit.net"),
        pytest.param(
            XUNIT_3, None, 'Assert.Contains() Failure: Sub-string not found String: "abc" Not found: "x"',
            id="xunit.net 3",
        ),
        pytest.param(GTEST, GTEST, "Value of: 112 Actual: 112 Expected: is less than 5", id="googletest"),
        pytest.param(HAMCREST, None, "Expected: <100.10> but: was <100.11>", id="hamcrest"),
        pytest.param(None, HSPEC, 'expected: "False" but got: "True"', id="hspec"),
        pytest.param(None, CODECEPTION, "Failed asserting that two strings are equal.", id="codeception"),
        pytest.param(
            None, CODECEPTION.replace("check", "\n  check total"), "Failed asserting that two strings are equal.",
            id="codeception, wrapped",
        ),
        pytest.param(
            None, PHPUNIT_DIFF, "Failed asserting that two strings are equal. -'a' +'b'", id="phpunit strings"
        ),
        pytest.param(
            "failed tests::pays", CARGO, "assertion failed: `(left == right)` left: `4`, right: `3`", id="cargo2junit"
        ),
        pytest.param("failed tests::pays", CARGO_BOOM, "no card", id="cargo2junit, one line"),
        pytest.param("failed tests::pays", NEXTEST, "assertion `left == right` failed left: 1 right: 2", id="rust"),
        pytest.param(XCODE, None, "Expectation failed: (total → 5) < 3", id="xcresult"),
        pytest.param("failed Pay", CUCUMBER_FAILED, "expected: 3 got: 4", id="cucumber for ruby"),
        pytest.param(
            "undefined Pay", CUCUMBER_UNDEFINED,
            'Undefined step: "the total is 3" (Cucumber::Core::Test::Result::Undefined)',
            id="cucumber for ruby, undefined",
        ),
        pytest.param("undefined Pay", CUCUMBER.format(""), "Then the total is 3", id="cucumber for ruby, no message"),
        pytest.param(
            "The scenario has pending or undefined step(s)", CUCUMBER_STEPS, "undefined: Then the total is 3",
            id="cucumber for java",
        ),
        pytest.param("Expected: 1...", MINITEST, "Expected: 1 Actual: 2", id="shortened message"),
        pytest.param(None, TESTIFY, "cart_test.go:9: Error: Not equal: expected: 1 actual : 2", id="testify"),
        pytest.param("\ufeffno card", None, "no card", id="byte order mark"),
        pytest.param(None, f"{TRACEBACK}ValueError: no card\n", "ValueError: no card", id="long traceback"),
        pytest.param("Traceback (most recent call last):", PYTHON, "ValueError: no card", id="only a heading"),
        pytest.param(None, CHAINED, "ValueError: no card, no cash", id="chained tracebacks"),
        pytest.param(None, PYTHON.rpartition("\n")[0], "KeyError", id="truncated traceback"),
        pytest.param(None, f"{PYTHON}: {'x' * 9_000}", f"ValueError: no card: {'x' * 179}", id="long exception"),
        pytest.param(None, PYTHON + "\nline" * 9_000, "ValueError: no card", id="long exception of many lines"),
    ],
)  # fmt: skip
def test_summary_states_why_a_test_failed(message: str | None, details: str | None, summary: str) -> None:
    assert summarize_failure("KeyError", message, details) == summary


def test_summary_is_one_short_line() -> None:
    summary = summarize_failure(None, "expected\t " + "x" * 500, None)
    assert summary is not None
    assert summary.startswith("expected x")
    assert len(summary) == MAX_SUMMARY


@pytest.mark.parametrize("line", ["-" * 390 + "x", "a" + "." * 390 + "fail", "." * 390])
def test_hostile_lines_are_summarized_in_linear_time(line: str) -> None:
    start = time.process_time()
    summarize_failure(None, "\n".join([line] * 20), None)
    FAILING_STEP.fullmatch("." * 20_000)

    assert time.process_time() - start < 0.1


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]8;;https://x\x07link\x1b]8;;\x07", "link"),
        ("a\x08\x00b\x7f\x9bc", "abc"),
        ("first\r\nsecond\tthird", "first\nsecond\tthird"),
        ("\ufffd[31mred\ufffd[0m", "red"),
        ("&amp#27;[31mred&#27;[0m", "red"),
        ("#x1B[1;31mred#x1B[0m", "red"),
        (r"\e[31mred\e[39m", "red"),
        ("?[31mred?[0m", "red"),
        ("[31mred[0m", "red"),
        ("rate(x[5m]) or y[10m:1m]", "rate(x[5m]) or y[10m:1m]"),
        ("\xe9t\xe9 \U0001f600", "\xe9t\xe9 \U0001f600"),
    ],
)
def test_escapes_and_control_characters_are_removed(text: str, plain: str) -> None:
    assert strip_escapes(text) == plain
