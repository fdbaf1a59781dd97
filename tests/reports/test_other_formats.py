"""Rejections of the formats of other tools name the tool and how to write a report that can be read."""

import re
from pathlib import Path

import pytest

from service.reports.conversion.errors import ReportError
from service.reports.other_formats import OTHER_FORMATS, find_other_format
from service.reports.report_heads import ReportHead
from tests.reports.conversions import convert_text
from tests.reports.manifests import ROOT

NAME = '"name": "a", "status": "passed"'


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ('<ns2:test-suite xmlns:ns2="urn:model.allure.qatools.yandex.ru"/>', "XML results of Allure 1 can't be read."),
        ('{"meta": {"protocolVersion": "27"}}\n{"source": {}}', "messages of Cucumber can't be read. Write JSON: `cuc"),
        ('{"uri": "a.feature", "keyword": "Feature", "elements": []}', "Cucumber reports that don't start with a f"),
        ('{"generator": "Robot 7.5", "rpa": false, "suite": {}}', "JSON outputs of Robot Framework can't be read."),
        ("<!-- a --><test-results/>", "XML reports of NUnit 2, such as those of Pester, can't be read. Write"),
        (
            '{"numFailedTestSuites": 1, "testResults": [{"leaks": false, "testFilePath": "/a.js", "testResults": []}]}',
            "results of jest-stare, and of other reporters that write the internal results of Jest, can't be read. W",
        ),
        ('{"results": [], "stats": {}}', "JSON reports of Mocha itself can't be read."),
        ('{"stats": {"suites": 1}, "tests": []}', "JSON reports of Mocha itself can't be read."),
        ("<!DOCTYPE suite SYSTEM 'https://testng.org/testng-1.0.dtd'><suite/>", "configurations of TestNG"),
        ("<testExecutions version='1'/>", "test executions of SonarQube can't be read."),
        ("=== RUN   TestA\n", "texts of `go test` can't be read. Write JSON: `go test -json ./... > go-test.jsonl`."),
        ("go: downloading x v1\n--- FAIL: TestA (0.00s)\n", "texts of `go test` can't be read."),
        ("ok  \texample.com/shop\t0.01s\n", "texts of `go test` can't be read."),
        ("?   \texample.com/shop\t[no test files]\n", "texts of `go test` can't be read."),
        ('{"protocolVersion": "0.1.1"}', "JSON events of Dart can't be read."),
        ('{"version": "3.13", "examples": []}', "JSON reports of RSpec can't be read."),
        ("<e:events xmlns:e='https://schemas.opentest4j.org/reporting/events/0.1.0'/>", "Open Test Reporting events"),
        ("<Site/>", "Test.xml files of CTest can't be read."),
        ("<Catch2TestRun/>", "XML reports of Catch2 can't be read."),
        ("<coverage/>", "coverage reports can't be read."),
        ("<checkstyle/>", "reports of linters can't be read."),
        ('{"name": "shop", "version": "1.0.0", "scripts": {"test": "jest"}}', "the JSON object contains no results."),
    ],
)
def test_rejection_names_the_tool_and_the_remedy(report: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ReportError) as error:
        convert_text(report, tmp_path)

    assert error.value.reason == "unsupported_format"
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("report", [f"{{{NAME}}}", f'{{{NAME}, "meta": 1}}', f"\ufeff {{{NAME}}}\n"], ids=range(3))
def test_single_json_object_with_a_name_is_no_report(report: str, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="the JSON object is a single result") as error:
        convert_text(report, tmp_path)

    assert error.value.reason == "unsupported_format"


@pytest.mark.parametrize(("others", "is_found"), [(90, True), (110, False)])
def test_file_of_an_archive_is_examined_up_to_its_hundredth_key(others: int, *, is_found: bool) -> None:
    keys = "".join(f'"{number}": 0, ' for number in range(others))
    head = ReportHead(f'{{{keys}"protocolVersion": "1"}}'.encode())
    assert bool(find_other_format(head)) is is_found


def test_documentation_lists_each_format_with_its_remedy() -> None:
    documentation = " ".join((ROOT / "docs" / "reports.md").read_text("utf-8").split())

    for known in OTHER_FORMATS:
        title = known.title[0].upper() + known.title[1:]
        remedy = re.sub(r"`([^`|]*)\|([^`]*)`", r"<code>\1&#124;\2</code>", known.remedy)  # "|" ends a cell of a table
        assert f"| {title.rstrip(',')} | {remedy} |" in documentation
