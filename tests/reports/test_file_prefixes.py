"""Relative files of a report get the folder of the repository to which they are relative."""

import json
from pathlib import Path

import pytest

from service.reports.conversion.convert import convert
from service.reports.conversion.names import Checkout
from service.reports.streams.chunks import read_chunks
from tests.reports.conversions import RESULTS
from tests.reports.manifests import OWN

CHECKOUT = Checkout("/builds/shop/", "web")


@pytest.mark.parametrize(
    ("path", "root", "expected"),
    [
        ("cart.test.js", None, "web/cart.test.js"),
        ("./tests/cart.test.js", None, "web/tests/cart.test.js"),
        ("tests\\cart.test.js", None, "web/tests/cart.test.js"),
        ("../shared/cart.test.js", None, "shared/cart.test.js"),
        ("web/cart.test.js", None, "web/web/cart.test.js"),
        ("/builds/shop/api/cart.js", None, "api/cart.js"),
        ("/builds/shop/web/tests/CartTest.php", "/builds/shop/web/", "web/tests/CartTest.php"),
        ("/ci/tests/CartTest.php", "/ci/", "web/tests/CartTest.php"),
        ("/usr/lib/cart.js", None, "cart.js"),
    ],
)
def test_relative_file_is_below_the_prefix(path: str, root: str | None, expected: str) -> None:
    assert CHECKOUT.file_of(path, root) == expected


def test_without_a_prefix_relative_files_stay_unchanged() -> None:
    assert [Checkout().file_of(path) for path in ("./a.js", "..\\a.js")] == ["./a.js", "..\\a.js"]


def files_of(report: Path, target: Path, root: str | None = None, prefix: str = "web") -> dict[str, str]:
    """Return the files by suites and names."""
    convert(report, target, root=root, prefix=prefix)
    results = [result for chunk in read_chunks(target) for result in RESULTS.validate_json(chunk)]
    return {f"{each.get('suite')} {each['name']}": file for each in results if (file := each.get("file"))}


@pytest.mark.parametrize(
    "report",
    [
        "vitest/junit.xml",
        "rspec/rspec.xml",
        "phpunit/phpunit-11.xml",
        "pytest/xunit1.xml",
        "pytest/json-report.xml",
        "pytest/json-report.json",
        "pytest/ctrf.json",
        "cucumber/cucumber-js.json",
        "mocha/mochawesome.json",
        "tap/node-tap.tap",
        "tap/prove.tap",
        "playwright/junit.xml",
        "playwright.json",
    ],
)
def test_prefix_changes_only_the_files(report: str, tmp_path: Path) -> None:
    plain = files_of(OWN / report, tmp_path / "results", prefix="")
    prefixed = files_of(OWN / report, tmp_path / "results")
    relative = {case: file for case, file in plain.items() if prefixed[case] != file}
    assert relative
    assert prefixed.keys() == plain.keys()
    assert {case: prefixed[case] for case in relative} == {
        case: f"web/{file.removeprefix('./')}" for case, file in relative.items()
    }


def test_native_results_have_the_prefix_unless_their_file_is_absolute(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    files = ("cart.js", "/ci/cart.js", None)
    results = [{"suite": "s", "name": str(file), "status": "passed", "file": file} for file in files]
    report.write_text(json.dumps({"run": {}, "results": results}))
    assert files_of(report, tmp_path / "results") == {"s cart.js": "web/cart.js", "s /ci/cart.js": "/ci/cart.js"}


def test_folder_that_playwright_states_replaces_the_prefix(tmp_path: Path) -> None:
    files = files_of(OWN / "playwright.json", tmp_path / "results", "/builds", "elsewhere")
    assert {file.rpartition("/")[0] for file in files.values()} == {"shop/tests"}


def test_file_of_a_php_class_is_relative_to_the_checkout_and_not_to_its_configuration(tmp_path: Path) -> None:
    report = tmp_path / "junit.xml"
    report.write_text(
        '<testsuites><testsuite name="/builds/shop/api/phpunit.xml"><testsuite name="CartTest"'
        ' file="/builds/shop/api/tests/CartTest.php"><testcase name="pays" class="CartTest"'
        ' file="/builds/shop/api/tests/CartTest.php"/></testsuite></testsuite></testsuites>'
    )
    assert files_of(report, tmp_path / "results", "/builds/shop", "") == {"CartTest pays": "api/tests/CartTest.php"}
    assert files_of(report, tmp_path / "results", None, "") == {"CartTest pays": "tests/CartTest.php"}
