"""Annotations of GitHub Actions are workflow commands without anything that a producer could break out of."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from service.client import annotations
from service.client.checkout import RepositoryPaths
from service.client.http import ConsoleLinks
from tests.client.changed_runs import changed, run_changes

LINKS = ConsoleLinks("https://r.example")


def annotate(*results: dict[str, Any], missing: Sequence[str] = (), prefix: str = "") -> list[str]:
    changes = run_changes(*results, details={result["id"]: {"line": 7} for result in results})
    return list(annotations.annotate([changes], missing, LINKS, RepositoryPaths({"": prefix})))


def test_new_failure_is_an_error_with_file_line_and_evidence() -> None:
    assert annotate(changed(file="tests/shop.py")) == [
        "::error file=tests/shop.py,line=7,title=shop > pays::expected 200 got 503. passed in all 3 runs on main"
        ". https://r.example/console/runs/ci-43"
    ]


def test_other_failures_are_warnings_and_quarantined_ones_are_left_out() -> None:
    results = [changed("a", "known_failure"), changed("b", "flaky_failure"), changed("c", "quarantined")]
    assert [line.partition("::expected")[0] for line in annotate(*results)] == [
        "::warning title=shop > b", "::warning title=shop > a",
    ]  # fmt: skip


def test_github_shows_10_annotations_of_each_level_and_the_most_important_ones_are_printed() -> None:
    known = [changed(f"known {number}", "known_failure") for number in range(20)]
    new = [changed(f"new {number}") for number in range(20)]
    flaky = changed("flaky", "flaky_failure")
    printed = annotate(*known, *new, flaky, missing=["1 of 2 jobs sent no results: unit"])
    assert printed[0] == "::error::1 of 2 jobs sent no results: unit"
    assert [line.partition("::expected")[0] for line in printed[1:]] == [
        *(f"::error title=shop > new {number}" for number in range(9)), "::warning title=shop > flaky",
        *(f"::warning title=shop > known {number}" for number in range(9)),
    ]  # fmt: skip


def test_path_is_relative_to_the_root_of_the_repository() -> None:
    (line,) = annotate(changed(file="tests/shop.py"), prefix="web")
    assert line.startswith("::error file=web/tests/shop.py,line=7,title=")


def test_unknown_line_is_left_out() -> None:
    changes = run_changes(changed(file="tests/shop.py"), details={"res_pays": {"line": 0}})
    (line,) = annotations.annotate([changes], [], LINKS, RepositoryPaths())
    assert line.startswith("::error file=tests/shop.py,title=")


@pytest.mark.parametrize(
    ("details", "location"),
    [
        ("node_modules/x/a.js:1\n at pays (src/cart.js:12:5)\n at next (src/main.js:3:5)", "file=src/cart.js,line=12,"),
        ("at pays (src/missing.js:12:5)", ""),
        ("at com.acme.CartTest.pays(Cart.java:12)", ""),
    ],
)
def test_case_without_a_file_has_that_of_the_traceback_if_the_checkout_contains_it(
    tmp_path: Path, details: str, location: str
) -> None:
    for name in ("src/cart.js", "src/main.js", "Cart.java"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    changes = run_changes(changed(), details={"res_pays": {"line": None, "failure": {"details": details}}})
    paths = RepositoryPaths(root=tmp_path, folder=tmp_path)
    (line,) = annotations.annotate([changes], [], LINKS, paths)
    assert line.startswith(f"::error {location}title=shop > pays::")


@pytest.mark.parametrize(
    ("file", "details", "location"),
    [
        ("{root}/tests/test_cart.py", "src/cart.py:3: in add", "file=tests/test_cart.py,line=7,"),
        ("{root}/tests/test_cart.py", "tests/test_cart.py:12: no", "file=tests/test_cart.py,line=12,"),
        ("/ci/test_cart.py", "src/missing.py:3: in add", "file=/ci/test_cart.py,line=7,"),
        ("test_cart.py", "node/tests/test_cart.py:12: no", "file=test_cart.py,line=12,"),
        ("test_cart.py", "tests/test_cart.py:12: no", "file=tests/test_cart.py,line=12,"),
    ],
)
def test_file_of_a_case_is_that_of_the_checkout(tmp_path: Path, file: str, details: str, location: str) -> None:
    for name in ("tests/test_cart.py", "src/cart.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    result = changed(file=file.format(root=tmp_path))
    changes = run_changes(result, details={"res_pays": {"line": 7, "failure": {"details": details}}})
    (line,) = annotations.annotate([changes], [], LINKS, RepositoryPaths(root=tmp_path, folder=tmp_path))
    assert line.startswith(f"::error {location}title=shop > pays::")


def test_without_a_checkout_the_file_of_a_case_is_that_of_the_report() -> None:
    details = {"res_pays": {"line": 7, "failure": {"details": "node/tests/test_cart.py:12: no"}}}
    changes = run_changes(changed(file="test_cart.py"), details=details)
    (line,) = annotations.annotate([changes], [], LINKS, RepositoryPaths())
    assert line.startswith("::error file=test_cart.py,line=12,")


@pytest.mark.parametrize("text", ["a\n::error::b", "a\r\n::set-output name=x::y", "100%, a:b", "\x1b[31ma"])
def test_text_of_a_producer_stays_inside_its_command(text: str) -> None:
    (line,) = annotate(changed(text, file=text, failure_summary=text))
    assert line.count("\n") == line.count("\r") == line.count("\x1b") == 0
    properties, _, message = line.removeprefix("::error ").partition("::")
    assert "%" not in message.replace("%25", "")
    assert [part.partition("=")[0] for part in properties.split(",")] == ["file", "line", "title"]
