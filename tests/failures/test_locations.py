"""The file and line of a failure in the texts of test tools."""

import pytest

from service.failures.model import FailureLocation, find_location, find_module

PYTEST = """\
tests/conftest.py:61:
.venv/lib/python3.13/site-packages/asyncpg/pool.py:439: in _async__init__
/usr/lib/python3.13/asyncio/selector_events.py:691: in _sock_connect_cb
E   AssertionError: 10:30 isn't 11:30

tests/dev/test_supervisor.py:97: AssertionError"""
VITEST = """\
AssertionError: expected 1 to be 2
 ❯ node_modules/vitest/dist/index.js:12:3
 ❯ src/cart.ts:14:10
 ❯ tests/cart.test.ts:7:22"""
UNITTEST = (
    'Traceback:\n  File "tests/test_cart.py", line 12, in test\n  File "/usr/lib/python3/unittest/case.py", line 9'
)


@pytest.mark.parametrize(
    ("texts", "file", "line", "expected"),
    [
        ([PYTEST], "tests/dev/test_supervisor.py", None, ("tests/dev/test_supervisor.py", 97)),
        ([PYTEST], "tests/conftest.py", None, ("tests/conftest.py", 61)),
        ([PYTEST], None, None, ("tests/dev/test_supervisor.py", 97)),
        ([VITEST], None, None, ("src/cart.ts", 14)),
        ([VITEST], "tests/cart.test.ts", None, ("tests/cart.test.ts", 7)),
        ([UNITTEST], None, None, ("tests/test_cart.py", 12)),
        ([None, "at http://example.com/a.js:80 or C:\\a\\b.cs:12"], "b.cs", 3, ("b.cs", 3)),
        (["/builds/app/a.py:3 ../b.py:4 a.py:0 12:30 example.com:80x"], None, None, None),
        ([], "/builds/a.py", 3, None),
        (["tests/a.py:12 src/b.py:3"], "/builds/tests/a.py", 9, ("tests/a.py", 12)),
        (["src/b.py:3"], "/builds/tests/a.py", 9, None),
        ([], "a.py", None, ("a.py", None)),
        (["cart.js:3 web/b.js:4"], "web/cart.js", None, ("web/cart.js", 3)),
        (["web/cart.js:3"], "cart.js", 9, ("cart.js", 3)),
        (["lib/other.js:3"], "web/cart.js", 9, ("web/cart.js", 9)),
        (["node_modules/x/index.js:3"], "index.js", 9, ("index.js", 9)),
        (["at com.acme.CartTest.pays(CartTest.java:12)\ncart_test.go:9: no"], None, None, None),
        (
            ["at com.acme.CartTest.pays(CartTest.java:12)"],
            "src/com/acme/CartTest.java",
            None,
            ("src/com/acme/CartTest.java", 12),
        ),
    ],
)
def test_location_is_that_of_the_innermost_call_in_the_repository(
    texts: list[str | None], file: str | None, line: int | None, expected: tuple[str, int | None] | None
) -> None:
    assert find_location(texts, file, line) == (expected and FailureLocation(*expected))


@pytest.mark.parametrize(
    ("call", "file", "expected"),
    [
        ("web/cart.js", "cart.js", "web/cart.js"),
        ("node/cart.js", "cart.js", "cart.js"),
        ("a.js", "web/a.js", "web/a.js"),
    ],
)
def test_longer_path_of_the_file_is_used_if_it_exists(call: str, file: str, expected: str) -> None:
    existing = {"web/cart.js", "cart.js", "a.js"}
    assert find_location([f"{call}:3"], file, 9, existing.__contains__) == FailureLocation(expected, 3)


@pytest.mark.parametrize(
    ("file", "module"),
    [
        ("tests/test_cart.py", "tests.test_cart.TestTotals.TestRounding"),
        ("tests/test_cart.py", "api.tests.test_cart"),
        ("api/tests/test_cart.py", "tests.test_cart"),
        ("test_cart.py", "test_cart"),
    ],
)
def test_file_of_a_module_is_found_in_a_traceback(file: str, module: str) -> None:
    text = f"src/cart.py:3: in add\n{file}:97: AssertionError"
    assert find_module(text, module) == file


@pytest.mark.parametrize("module", ["tests.test_pay", "api.test_cart", "tests.unit.test_cart", ""])
def test_file_of_another_module_is_not_that_of_the_case(module: str) -> None:
    assert find_module("tests/test_cart.py:97: AssertionError", module) is None


def test_long_texts_are_searched_in_linear_time() -> None:
    assert find_location(["a." * 50_000, "./" * 50_000, "a/" * 100_000], None, None) is None
