"""Rejections of the formats of other tools name the tool and how to write a report that can be read."""

import re
from pathlib import Path

import pytest

from service.reports.errors import ReportError
from service.reports.other_formats import OTHER_FORMATS
from tests.reports.conversions import convert_text
from tests.reports.manifests import ROOT

NAME = '"name": "a", "status": "passed"'


@pytest.mark.parametrize(
    ("report", "message"),
    [
        (f'{{{NAME}, "historyId": "1"}}', "Allure results can't be read. Write JUnit XML too"),
        (f'{{"uuid": "1", {NAME}, "steps": []}}', "Allure results can't be read."),
        ('<ns2:test-suite xmlns:ns2="urn:model.allure.qatools.yandex.ru"/>', "Allure results can't be read."),
        ('{"numFailedTests": 0, "testResults": []}', "JSON reports of Jest and Vitest can't be read."),
        ('{"stats": {}, "results": []}', "JSON reports of Mocha and mochawesome can't be read."),
        ('[{"uri": "a.feature", "keyword": "Feature", "elements": []}]', "JSON reports of Cucumber and Behave can't"),
        ('{"meta": {"protocolVersion": "27"}}\n{"source": {}}', "JSON reports of Cucumber and Behave can't be read."),
        ("<test-run/>", "XML reports of NUnit can't be read. Write TRX: `dotnet test --logger trx`."),
        ("<!-- a --><test-results/>", "XML reports of NUnit can't be read."),
        ("<assemblies/>", "XML reports of xUnit.net can't be read."),
        ("<?xml version='1.0'?><robot/>", "output.xml files of Robot Framework can't be read."),
        ("<testng-results/>", "testng-results.xml files of TestNG can't be read."),
        ("<!DOCTYPE suite SYSTEM 'https://testng.org/testng-1.0.dtd'><suite/>", "configurations of TestNG"),
        ("<testExecutions version='1'/>", "test executions of SonarQube can't be read."),
        ("TAP version 13\n1..1\nok 1", "TAP reports can't be read."),
        ("1..2\nok 1 - adds\n", "TAP reports can't be read."),
        ("not ok 1 - adds\n", "TAP reports can't be read."),
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
        ('{"suites": []}', "Playwright reports that don't start with their configuration can't be read."),
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


def test_documentation_lists_each_format_with_its_remedy() -> None:
    documentation = " ".join((ROOT / "docs" / "reports.md").read_text("utf-8").split())

    for known in OTHER_FORMATS:
        title = known.title[0].upper() + known.title[1:]
        remedy = re.sub(r"`([^`|]*)\|([^`]*)`", r"<code>\1&#124;\2</code>", known.remedy)  # "|" ends a cell of a table
        assert f"| {title.rstrip(',')} | {remedy} |" in documentation
