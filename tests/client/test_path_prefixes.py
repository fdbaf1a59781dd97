"""The folder of the files in a report is found by the files that exist in the checkout."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from service.client.path_prefixes import find_prefixes

FILES = (
    "both.py", "web/both.py", "web/tests/cart.test.js", "api/api/tests/test_pay.py", "api/tests/test_api.py",
    "web/build/unrelated.js", ".ci/web/tests/ci.test.js", "api/reports/shots/1.png", "api/reports/shots/2.png",
    "api/allure-results/0123456789abcdef0123456789abcdef-attachment.js",
)  # fmt: skip


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the folders web and api, and its root as the working directory."""
    (tmp_path / ".git").mkdir()
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def prefix_of(report: Path, content: str | bytes) -> str:
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_bytes(content.encode() if isinstance(content, str) else content)
    return find_prefixes([report]).get(report, "")


@pytest.mark.parametrize(
    ("report", "content", "prefix"),
    [
        ("web/junit.xml", '<testcase file="tests/cart.test.js"/>', "web"),
        ("web/build/junit.xml", '<testcase file="tests/cart.test.js"/>', "web"),
        ("web/junit.xml", '<testcase file="./tests/cart.test.js"/>', "web"),
        ("web/report.json", r'{"file": "tests\\cart.test.js"}', "web"),
        ("web/junit.xml", r'<testcase file="tests\cart.test.js"/>', "web"),
        ("web/junit.xml", '<testcase file="web/tests/cart.test.js"/>', ""),
        ("web/junit.xml", '<testcase file="both.py"/>', "web"),
        ("web/junit.xml", '<testcase file="both.py"/><testcase file="api/tests/test_api.py"/>', ""),
        ("api/junit.xml", '<testcase file="api/tests/test_pay.py"/>', "api"),
        ("api/junit.xml", "<failure>tests/test_api.py:7: AssertionError</failure>", "api"),
        ("api/report.json", r'{"trace": "no\ntests/test_api.py:7: AssertionError"}', "api"),
        ("api/junit.xml", '<testcase file="api/tests/test_api.py"><failure>tests/test_api.py:7: no</failure>', ""),
        ("api/junit.xml", '<testcase file="/ci/tests/test_api.py"/> it"s <testcase file="tests/test_api.py"/>', "api"),
        ("api/junit.xml", '<testcase file="tests/other.py"/>', ""),
        ("api/junit.xml", '<testcase file="../api/tests/test_api.py"/>', "api"),
        ("web/junit.xml", f'<testcase file="{"x" * 299}.js" name="\0.js"/>', ""),
        ("elsewhere/junit.xml", '<testcase file="tests/cart.test.js"/>', ""),
        ("web/junit.xml", "<testcase file='tests/cart.test.js'/>", "web"),
        ("web/junit.xml", """<testcase name="isn't" file="tests/cart.test.js"/> it's""", "web"),
        (".ci/web/junit.xml", '<testcase file="tests/ci.test.js"/>', ".ci/web"),
        (
            "api/reports/ctrf.json",
            '{"filePath": "tests/test_api.py", "attachments": [{"path": "shots/1.png"}, {"path": "shots/2.png"}]}',
            "api",
        ),
    ],
)
def test_folder_is_the_nearest_one_with_most_of_the_files(root: Path, report: str, content: str, prefix: str) -> None:
    assert prefix_of(root / report, content) == prefix
    assert prefix_of(root / f"{report}.gz", gzip.compress(content.encode())) == prefix


def test_report_outside_of_the_checkout_has_the_folder_of_the_working_directory(
    root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root / "web" / "build")
    report = tmp_path_factory.mktemp("reports") / "junit.xml"
    assert prefix_of(report, '<testcase file="tests/cart.test.js"/>') == "web"


def test_folder_of_allure_results_has_one_prefix(root: Path) -> None:
    """Otherwise, the attempts of a flaky test could be in two archives, so that the case would have failed."""
    folder = root / "api" / "allure-results"
    attached = [{"source": "0123456789abcdef0123456789abcdef-attachment.js"}]
    failed = {"statusDetails": {"trace": "tests/test_api.py:7: AssertionError"}, "attachments": attached}
    reports = [folder / f"{number}-result.json" for number in range(3)]
    documents: list[dict[str, Any]] = [{}, failed, {"attachments": attached}]
    for report, document in zip(reports, documents, strict=True):
        report.write_text(json.dumps({"uuid": report.name, "historyId": "h", "name": "pays", "labels": [], **document}))
    other = folder / "junit.xml"
    other.write_text('<testcase file="both.py"/>')
    assert find_prefixes([*reports, other]) == dict.fromkeys(reports, "api")


def test_without_a_repository_no_folder_is_found(root: Path) -> None:
    (root / ".git").rmdir()
    assert prefix_of(root / "web" / "junit.xml", '<testcase file="tests/cart.test.js"/>') == ""


def test_other_formats_and_damaged_files_have_no_folder(root: Path) -> None:
    for content in (b"", b"\x1f\x8b\x08damaged", b"PK\x03\x04", '<a file="both.py"/>'.encode("utf-16")):
        assert prefix_of(root / "web" / "junit.xml", content) == ""
