"""The selection of go test, executed by Go."""

from pathlib import Path

import pytest

from service.client.tool_selections import SelectedTest
from tests.client.selections.reruns import (
    identities,
    read_executed,
    read_tests,
    require,
    run,
    select,
    write_files,
    write_lines,
)

CART = """
package cart
import "testing"

func TestAdds(t *testing.T) { t.Fatal("no") }
func TestAddsMore(t *testing.T) {}
func TestTable(t *testing.T) {
    names := []string{
        "a b", "a|b", "x/y", "x", "[z", "(q", "a.b", "aXb", "ä", "$(touch x)", "it's", "same", "same", "a::b", "\\t",
    }
    for _, name := range names {
        t.Run(name, func(t *testing.T) {
            if name != "x" && name != "aXb" { t.Fail() }
            t.Run("inner", func(t *testing.T) {})
        })
    }
}
func TestOther(t *testing.T) {
    t.Run("x/y", func(t *testing.T) {})
    t.Run("a b", func(t *testing.T) {
        t.Run("deep", func(t *testing.T) { t.Fail() })
        t.Run("ok", func(t *testing.T) {})
    })
}
"""
STOCK = 'package stock\nimport "testing"\nfunc TestAdds(t *testing.T) {}\nfunc TestLoses(t *testing.T) { t.Fail() }\n'
BROKEN = 'package broken\nimport "testing"\nfunc TestNothing(t *testing.T) { missing() }\n'


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    require("go", "xargs", packages="golang-go, findutils")
    monkeypatch.setenv("GOFLAGS", "-mod=mod")
    write_files(tmp_path, go_DOT_mod="module example.com/shop\n\ngo 1.21\n", cart__cart_test_DOT_go=CART)
    write_files(tmp_path, stock__stock_test_DOT_go=STOCK)
    return tmp_path


def execute(folder: Path, name: str, entered: str | None = None) -> Path:
    command = ("go", "test", "-json")
    if entered is None:
        executed = run(folder, *command, "./...")
    else:
        executed = run(folder, "xargs", "-d", "\\n", "-n", "2", *command, entered=entered)
    report = folder / name
    report.write_text(executed.stdout, encoding="utf-8")
    return report


@pytest.mark.slow
def test_failed_tests_are_executed(shop: Path) -> None:
    failed = read_tests(execute(shop, "first.jsonl"))
    names = {test.name for test in failed}
    assert {"TestTable", "TestTable/same#01", "TestTable/x/y", "TestOther/a_b/deep", "TestLoses"} <= names
    selection = select("go", failed)
    assert not selection.widened
    assert len(selection.lines) == 2 * 2
    executed = read_executed(execute(shop, "second.jsonl", write_lines(shop / "failed.txt", selection)))
    # A selected test executes its own subtests, and `TestTable/x` contains the name of `TestTable/x/y`.
    allowed = {"TestTable/x"}
    more = {name for _, name, _ in executed - identities(failed)}
    assert identities(failed) <= executed
    assert {name for name in more - allowed if not name.endswith("/inner")} == set()
    assert not (shop / "x").exists()


@pytest.mark.slow
def test_package_that_cannot_be_built_is_selected(shop: Path) -> None:
    write_files(shop, broken__broken_test_DOT_go=BROKEN)
    selection = select("go", read_tests(execute(shop, "first.jsonl")))
    assert selection.widened == ["example.com/shop/broken: all tests of the package"]
    executed = read_executed(execute(shop, "second.jsonl", write_lines(shop / "failed.txt", selection)))
    assert ("example.com/shop/broken", "(suite)", "") in executed
    assert ("example.com/shop/stock", "TestAdds", "") not in executed


def test_subtest_replaces_its_test() -> None:
    tests = [SelectedTest("shop", name) for name in ("TestA", "TestA/b", "TestA/b.c", "TestD", "TestE")]
    assert select("go", tests).lines == [r"-run=^(TestA)$/^(b|b\.c)$|^(TestD|TestE)$", "shop"]


@pytest.mark.parametrize(
    ("package", "name", "lines"),
    [
        ("shop", "TestMain", ["-run=.", "shop"]),
        ("shop", "(suite)", ["-run=.", "shop"]),
        ("shop", "TestA/~/b", ["-run=.", "shop"]),
        ("shop", "TestA/" + "b" * 1_000, ["-run=.", "shop"]),
        ("shop", "BenchmarkA", ["-bench=.", "shop"]),
        ("-exec=sh", "TestA", ["-bench=.", "./..."]),
        ("", "TestA", ["-bench=.", "./..."]),
        ("shop cart", "TestA", ["-bench=.", "./..."]),
    ],
)
def test_more_is_selected_than_an_inexact_name(package: str, name: str, lines: list[str]) -> None:
    selection = select("go", [SelectedTest(package, name)])
    assert (selection.lines, len(selection.widened)) == (lines, 1)


def test_long_pattern_is_replaced_by_the_package() -> None:
    tests = [SelectedTest("shop", f"TestA{number:0900}") for number in range(200)]
    assert select("go", tests).lines == ["-run=.", "shop"]
