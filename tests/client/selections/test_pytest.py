"""The selection of pytest, executed by pytest."""

import sys
from pathlib import Path

import pytest

from service.client.tool_selections import SelectedTest
from tests.client.selections.reruns import identities, read_executed, read_tests, run, select, write_files, write_lines

CART = r"""
import pytest
import unittest

@pytest.mark.parametrize("value", ["a b", "x::y", "[z]", "it's \"q\"", "ä", "n\nl", "p/q.*$(touch x)", "-k", "", "ok"])
def test_text(value):
    assert value == "ok"

class TestCart:
    def test_adds(self):
        assert False
    def test_passes(self):
        pass
    class TestInner:
        @pytest.mark.parametrize("number", [1, 2])
        def test_deep(self, number):
            assert number == 1

def test_subtests(subtests):
    with subtests.test("first [x]", number=1):
        assert False
    with subtests.test("second"):
        pass

class Case(unittest.TestCase):
    def test_unit(self):
        self.fail("always")

def test_setup(missing_fixture):
    pass
"""
PASSING = "def test_other(): pass\ndef test_text(): pass\n"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path, pytest_DOT_ini="[pytest]\n", tests__test_cart_DOT_py=CART, tests__test_other_DOT_py=PASSING)
    return tmp_path


def execute(folder: Path, *arguments: str) -> Path:
    report = folder / "junit.xml"
    options = ("-p", "no:cacheprovider", "--continue-on-collection-errors", f"--junitxml={report}", "-o", "addopts=")
    executed = run(folder, sys.executable, "-m", "pytest", "-q", *options, *arguments)
    assert executed.returncode == 1, executed.stdout + executed.stderr
    return report


@pytest.mark.parametrize("family", ["xunit1", "xunit2"])
def test_failed_tests_are_executed(shop: Path, family: str) -> None:
    failed = read_tests(execute(shop, "-o", f"junit_family={family}"))
    assert len(identities(failed)) == 14
    selection = select("pytest", failed)
    assert not selection.widened
    write_lines(shop / "failed.txt", selection)
    assert read_executed(execute(shop, "@failed.txt")) == identities(failed)
    assert not (shop / "x").exists()


def test_file_that_cannot_be_collected_is_selected(shop: Path) -> None:
    write_files(shop, tests__deep__test_broken_DOT_py="import no_such_module\n")
    failed = read_tests(execute(shop, "tests/deep", "tests/test_other.py"))
    selection = select("pytest", failed)
    assert selection.lines == ["tests/deep/test_broken.py"]
    assert not selection.widened


def test_folder_of_a_monorepo_is_found(shop: Path) -> None:
    test = SelectedTest("pytest > tests.test_cart.TestCart", "test_adds", "services/shop/tests/test_cart.py")
    # The working directory is below the root of the repository.
    assert select("pytest", [test]).lines == ["tests/test_cart.py::TestCart::test_adds"]
    write_files(shop, services__shop__tests__test_cart_DOT_py="")
    assert select("pytest", [test]).lines == [f"{test.file}::TestCart::test_adds"]


@pytest.mark.parametrize(
    ("name", "file", "line"),
    [
        ("test_text[<shop.Cart object>]", "tests/test_cart.py", "tests/test_cart.py::test_text"),
        ("test_text[/tmp/cart.json]", "tests/test_cart.py", "tests/test_cart.py::test_text"),
        ("test_text[a]@group", "tests/test_cart.py", "tests/test_cart.py::test_text"),
        ("test_text[\u202e]", "tests/test_cart.py", "tests/test_cart.py::test_text"),
        ("test_text[\ufffd]", "tests/test_cart.py", "tests/test_cart.py::test_text"),
        (f"test_text[{'x' * 990}", "tests/test_cart.py", "tests/test_cart.py::test_text"),
        ("test text", "tests/test_cart.py", "tests/test_cart.py"),
        ("(suite)", "tests/test_cart.py", "tests/test_cart.py"),
        ("test_text", "other/test_cart.py", "other/test_cart.py"),
        ("test_text", "/etc/test_cart.py", "."),
        ("test_text", "../tests/test_cart.py", "."),
        ("test_text", "", "."),
    ],
)
def test_more_is_selected_than_an_inexact_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, file: str, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    test = SelectedTest("pytest > tests.test_cart", name, file)
    selection = select("pytest", [test])
    assert (selection.lines, selection.widened) == ([line], [f"{test.label}: {line}"])


def test_path_cannot_be_an_option_or_a_file_of_arguments() -> None:
    tests = [SelectedTest(f"pytest > {start}test_a", "test_b", f"{start}test_a.py") for start in "-@"]
    assert select("pytest", tests).lines == ["./-test_a.py::test_b", "./@test_a.py::test_b"]


def test_parts_of_a_selected_file_are_not_listed_again() -> None:
    tests = [SelectedTest("pytest > test_a", name, "test_a.py") for name in ("test_b[x::y]", "test b", "test_c")]
    assert select("pytest", tests).lines == ["test_a.py"]


def test_file_replaces_many_tests_of_it() -> None:
    """The time of pytest would grow with the square of their number."""
    tests = [SelectedTest("pytest > test_a", f"test_b[{number}]", "test_a.py") for number in range(1_001)]
    other = SelectedTest("pytest > test_c", "test_d", "test_c.py")
    assert len(select("pytest", tests[:1_000]).lines) == 1_000
    selection = select("pytest", [*tests, other])
    assert (selection.lines, selection.widened) == (
        ["test_a.py", "test_c.py::test_d"],
        ["more than 1,000 tests: test_a.py"],
    )
