"""The folder of the files in a report is found by the files that exist in the checkout."""

import gzip
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from service.client.path_prefixes import FoundPrefixes, MissingFile, find_prefixes

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
    return find_prefixes([report]).folders.get(report, "")


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
    assert find_prefixes([*reports, other]).folders == dict.fromkeys(reports, "api")


CART = '<testcase classname="cart.test.js"/>'


def write(report: Path, content: str) -> Path:
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(content)
    return report


@pytest.fixture
def tracked(root: Path) -> Path:
    """A repository whose files Git knows. Only `both.py` has a name of several files."""
    (root / ".git").rmdir()
    subprocess.run(["git", "init", "--quiet", root], check=True)
    subprocess.run(["git", "-C", root, "add", "."], check=True)
    return root


@pytest.mark.parametrize(
    ("content", "prefix"),
    [
        (CART, "web/tests"),
        ('{"filePath": "./cart.test.js"}', "web/tests"),
        ("<testcase file='tests/cart.test.js'/>", "web"),
        ('<testcase file="test_pay.py"/>', "api/api/tests"),
        ("<failure>tests/test_pay.py:7: AssertionError</failure>", "api/api"),
        (f'{CART}<testcase file="unrelated.js"/>', None),  # in another folder
        (f'{CART}<testcase file="new.test.js"/>', None),
        ('<testcase file="test_api.py"/>', "api/tests"),
        ('<testcase file="t.test.js"/>', None),  # the end of the name of another file
        ('<testcase file="../tests/cart.test.js"/>', None),
    ],
)
def test_collected_report_has_the_only_folder_with_all_of_its_files(
    tracked: Path, content: str, prefix: str | None
) -> None:
    report = write(tracked / "art" / "web" / "results.xml", content)
    found = find_prefixes([report])
    assert found.folders == ({report: prefix} if prefix else {})
    assert (found.missing is None) == (prefix is not None)


def test_folder_is_unknown_if_several_contain_the_files(tracked: Path) -> None:
    write(tracked / "shop" / "tests" / "cart.test.js", "")
    subprocess.run(["git", "-C", tracked, "add", "."], check=True)
    report = write(tracked / "art" / "junit.xml", CART)
    assert find_prefixes([report]) == FoundPrefixes({}, MissingFile(report, "cart.test.js"))


def test_first_missing_file_of_an_upload_is_returned(root: Path) -> None:
    found = write(root / "web" / "junit.xml", '<testcase file="tests/cart.test.js"/>')
    reports = [found, *(write(root / "art" / f"{number}.xml", CART) for number in range(3))]
    assert find_prefixes(reports) == FoundPrefixes({found: "web"}, MissingFile(reports[1], "cart.test.js"))


@pytest.mark.parametrize(
    "content",
    [
        '<testcase name="reads a file/of.js"/>',  # not a file
        '<testcase classname="com.acme.CartTest">at com.acme.CartTest.pays(CartTest.java:12)</testcase>',
        "<failure>venv/lib/site-packages/pytest/main.py:7: no</failure>",
        '{"rootDir": "/ci/shop", "file": "shop.spec.ts"}',  # to which the server adds the folder
        '<testcase file="/ci/tests/new.py"/><testcase file="new.py"/>',
        r'{"file": "C:\\ci\\tests\\new.py"}',
        '<testcase file="web/tests/cart.test.js"/>',
        '<testcase file="shots/1.png"/>',
    ],
)
def test_report_without_a_missing_file_of_a_test_causes_no_hint(root: Path, content: str) -> None:
    report = write(root / "art" / "junit.xml", content)
    assert find_prefixes([report]) == FoundPrefixes({})


def test_without_a_repository_the_folder_is_only_an_example(root: Path) -> None:
    """The working directory, such as /app of a container, can be any folder of the repository."""
    (root / ".git").rmdir()
    report = write(root / "web" / "junit.xml", '<testcase file="tests/cart.test.js"/>')
    missing = MissingFile(report, "tests/cart.test.js", "web")
    assert find_prefixes([report]) == FoundPrefixes({}, missing)
    report.write_text('<testcase file="web/tests/cart.test.js"/>')
    assert find_prefixes([report]) == FoundPrefixes({})


def test_other_formats_and_damaged_files_have_no_folder(root: Path) -> None:
    for content in (b"", b"\x1f\x8b\x08damaged", b"PK\x03\x04", '<a file="both.py"/>'.encode("utf-16")):
        assert prefix_of(root / "web" / "junit.xml", content) == ""
