"""The selection of Gradle, executed by Gradle with JUnit 4, and names of JUnit 5."""

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

BUILD = """
apply plugin: 'java'
dependencies { testCompile files('/usr/share/java/junit4.jar', '/usr/share/java/hamcrest-all.jar') }
"""
CART = """
package com.example;
import org.junit.Test;
public class CartTest {
    @Test public void adds() { org.junit.Assert.fail("no"); }
    @Test public void removes() { }
    public static class Inner$er { @Test public void pays() { org.junit.Assert.fail("no"); } }
}
"""
STOCK = "package com.example;\npublic class StockTest { @org.junit.Test public void adds() { } }\n"


@pytest.mark.slow
def test_classes_of_failed_tests_are_executed(tmp_path: Path) -> None:
    require("gradle", "xargs", packages="gradle, junit4, findutils")
    sources = {"CartTest": CART, "StockTest": STOCK}
    write_files(tmp_path, build_DOT_gradle=BUILD, settings_DOT_gradle="")
    write_files(tmp_path, **{f"src__test__java__com__example__{name}_DOT_java": text for name, text in sources.items()})
    command = ("gradle", "--offline", "--no-daemon", "-q", "test")
    executed = run(tmp_path, *command)
    reports = sorted(tmp_path.glob("build/test-results/test/*.xml"))
    assert len(reports) == 3, executed.stderr
    failed = [test for report in reports for test in read_tests(report)]
    selection = select("gradle", failed)
    assert selection.lines == ["--tests=com.example.CartTest", "--tests=com.example.CartTest$Inner$er"]
    for report in reports:
        report.unlink()
    run(tmp_path, "xargs", "-d", "\\n", *command, entered=write_lines(tmp_path / "failed.txt", selection))
    executed_tests = read_executed(*tmp_path.glob("build/test-results/test/*.xml"))
    assert executed_tests == identities([*failed, SelectedTest("com.example.CartTest", "removes")])


@pytest.mark.parametrize(
    ("name", "line", "is_exact"),
    [
        ("adds()", "--tests=com.example.CartTest.adds", True),
        ("adds(int, String)", "--tests=com.example.CartTest.adds", True),
        ("adds(int)[2]", "--tests=com.example.CartTest.adds", False),
        ("[2] 1, 'a b'", "--tests=com.example.CartTest", False),
        ("adds", "--tests=com.example.CartTest", False),
        ("adds two numbers()", "--tests=com.example.CartTest", False),
        ("initializationError", "--tests=com.example.CartTest", False),
    ],
)
def test_name_of_junit_5_is_a_method_only_with_parentheses(name: str, line: str, *, is_exact: bool) -> None:
    selection = select("gradle", [SelectedTest("Cart tests > com.example.CartTest", name)])
    assert (selection.lines, not selection.widened) == ([line], is_exact)


@pytest.mark.parametrize("suite", ["Cart tests", "Cart", "", "com.example.Cart --init-script=x"])
def test_all_tests_are_selected_without_a_class(suite: str) -> None:
    assert select("gradle", [SelectedTest(suite, "adds()")]).lines == ["--tests=*"]


def test_classes_replace_many_methods() -> None:
    tests = [SelectedTest("com.example.CartTest", f"adds{number}()") for number in range(3_000)]
    assert select("gradle", tests).lines == ["--tests=com.example.CartTest"]
