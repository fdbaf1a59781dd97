"""Conversion of a report to a file of results in a child process."""

import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from service.ingest.contract import ResultIn
from service.reports.conversion.convert import convert
from service.reports.conversion.errors import ReportError
from service.reports.streams.chunks import ChunkWriter, read_chunks
from tests.reports.conversions import convert_text
from tests.reports.manifests import OWN

TEXT: Final = "x" * 200
_ALLURE: Final = (
    f'{{"uuid": "u", "status": "failed", "statusDetails": {{"message": "{TEXT}"}}, "steps": [{{"name": "{TEXT}"}}]}}'
)
DEEP: Final = f"{'[' * 300}{']' * 300}"
# The start, one case, and the end of a report of each syntax.
SYNTAXES: Final = {
    "junit": (
        "<testsuite>",
        f"<testcase name='c{{number}}'><failure>{TEXT}</failure><system-out>{TEXT}</system-out></testcase>",
        "</testsuite>",
    ),
    "ctrf": (
        '{"results": {"tests": [',
        f'{{"name": "c{{number}}", "status": "failed", "duration": 1, "message": "{TEXT}"}},',
        '{"name": "last", "status": "passed"}]}}',
    ),
    "playwright": (
        '{"config": {"argv": []}, "suites": [{"title": "a", "specs": [], "suites": [{"title": "b", "specs": [',
        '{"title": "c{number}", "tests": [{"expectedStatus": "passed", "results": '
        f'[{{"status": "failed", "errors": [{{"message": "{TEXT}"}}], "stdout": ["{TEXT}"]}}]}}]}},',
        '{"title": "last", "tests": []}]}]}]}',
    ),
    "cucumber": (
        '[{"keyword": "Feature", "elements": [',
        '{"name": "c{number}", "steps": [{"name": "pays", "result": '
        f'{{"status": "failed", "error_message": "{TEXT}"}}, "output": ["{TEXT}"]}}]}},',
        '{"name": "last"}], "name": "Cart"}]',
    ),
    "tap": (
        "TAP version 14\n",
        "# Subtest: s{number}\n    # Subtest: c\n    not ok 1 - c\n      ---\n"
        f"      message: {TEXT}\n      ...\n    1..1\n{TEXT}\nnot ok {{number}} - s{{number}}\n",
        "1..7\n",
    ),
    "pytest-json": (
        '{"created": 1.5, "duration": 1, "exitcode": 1, "tests": [',
        '{"nodeid": "a.py::test_{number}", "outcome": "failed", "call": '
        f'{{"outcome": "failed", "longrepr": "{TEXT}", "stdout": "{TEXT}"}}}},',
        '{"nodeid": "a.py::test_last", "outcome": "passed"}]}',
    ),
    "jest": (
        '{"numTotalTestSuites": 1, "testResults": [{"assertionResults": [',
        f'{{"title": "c{{number}}", "status": "failed", "failureMessages": ["{TEXT}"], "failureDetails": ["{TEXT}"]}},',
        '{"title": "last", "status": "passed"}], "name": "/ci/shop/cart.test.js"}]}',
    ),
    "mochawesome": (
        '{"stats": {}, "results": [{"title": "", "suites": [{"title": "cart", "tests": [',
        f'{{"fullTitle": "c{{number}}", "state": "failed", "err": {{"estack": "{TEXT}"}}, "context": "\\"{TEXT}\\""}},',
        '{"fullTitle": "last", "state": "passed"}]}]}]}',
    ),
    "allure": ("", f'{{"allure_file":"a-result.json","size":{len(_ALLURE)}}}\n{_ALLURE}\n', ""),
    "trx": (
        "<TestRun>",
        f"<UnitTestResult testId='{{number}}' testName='c{{number}}' outcome='Failed'><Output><StdOut>{TEXT}</StdOut>"
        f"<ErrorInfo><Message>{TEXT}</Message></ErrorInfo></Output></UnitTestResult>"
        "<UnitTest id='{number}'><TestMethod className='k'/></UnitTest>",
        "</TestRun>",
    ),
    "robot": (
        "<robot generator='Robot'><suite name='s'>",
        f"<test name='c{{number}}'><kw name='k'><msg level='FAIL'>{TEXT}</msg><arg>{TEXT}</arg><status status='FAIL'/>"
        f"</kw><tag>{TEXT}</tag><status status='FAIL'>{TEXT}</status></test>",
        "</suite></robot>",
    ),
    "nunit": (
        '<test-run><test-suite type="TestFixture" fullname="k">',
        f'<test-case name="c{{number}}" fullname="k.c{{number}}" result="Failed"><failure><message>{TEXT}</message>'
        f"</failure><output>{TEXT}</output></test-case>",
        "</test-suite></test-run>",
    ),
    "xunit": (
        '<assemblies><assembly name="a"><collection name="k">',
        f'<test name="k.c{{number}}" type="k" result="Fail"><failure><message>{TEXT}</message></failure>'
        f"<output>{TEXT}</output></test>",
        "</collection></assembly></assemblies>",
    ),
    "testng": (
        '<testng-results retried="1"><suite><test><class name="k">',
        f'<test-method name="c{{number}}" status="FAIL"><params><param><value>{{number}}</value></param></params>'
        f"<exception><message>{TEXT}</message></exception><reporter-output><line>{TEXT}</line></reporter-output>"
        "</test-method>",
        "</class></test></suite></testng-results>",
    ),
    "go-test": (
        "",
        "".join(
            f'{{"Action": "{action}", "Package": "p", "Test": "Test{{number}}", "Output": "{TEXT}"}}\n'
            for action in ("run", "output", "fail")
        ),
        "",
    ),
}


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


def test_child_process_returns_the_summary(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    summary = pool.submit(convert, OWN / "pytest.xml", tmp_path / "results", "text/xml").result(60)

    assert (summary.format, summary.results) == ("junit", 6)


def test_child_process_raises_the_report_error(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="unclosed CDATA") as error:
        pool.submit(convert, OWN / "truncated.xml", tmp_path / "results").result(60)

    assert error.value.reason == "malformed_report"


def test_results_before_the_defect_are_deleted(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text("<testsuite>" + "<testcase name='c'/>" * 100_000)

    with pytest.raises(ReportError):
        convert(report, tmp_path / "results")

    assert list(tmp_path.iterdir()) == [report]


@pytest.mark.slow
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_memory_does_not_grow_with_the_report(syntax: str, tmp_path: Path) -> None:
    def peak_of(cases: int) -> int:
        _write_report(report, syntax, cases)
        tracemalloc.start()
        convert(report, tmp_path / "results")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    report = tmp_path / "report"
    assert peak_of(40_000) < 1.2 * peak_of(10_000)


def test_lines_are_bounded_and_in_order(tmp_path: Path) -> None:
    names = [f"case {number}" for number in range(5_000)]
    results: list[ResultIn] = [{"name": name, "status": "passed"} for name in names]
    results[7]["failure"] = {"details": "d" * 3_000_000}

    with (tmp_path / "results").open("wb") as target:
        writer = ChunkWriter(target)
        writer.add(results[:10])
        writer.add(results[10:])
        writer.finish()

    chunks = [orjson.loads(chunk) for chunk in read_chunks(tmp_path / "results")]
    assert writer.results == 5_000
    assert max(map(len, chunks)) <= 2_000
    assert [result["name"] for chunk in chunks for result in chunk] == names


def test_lines_with_large_results_are_bounded(tmp_path: Path) -> None:
    wordy: list[ResultIn] = [{"name": "c", "status": "failed", "failure": {"details": "d" * 50_000}}] * 300

    with (tmp_path / "results").open("wb") as target:
        writer = ChunkWriter(target)
        writer.add(wordy)
        writer.finish()

    chunks = list(read_chunks(tmp_path / "results"))
    assert max(map(len, chunks)) < 2_200_000
    assert sum(len(orjson.loads(chunk)) for chunk in chunks) == 300


def test_missing_memory_is_no_invalid_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> bytes:
        raise TypeError("str is not valid UTF-8: surrogates not allowed")  # of orjson without memory

    monkeypatch.setattr("service.reports.streams.chunks.orjson.dumps", fail)
    with (tmp_path / "results").open("wb") as target, pytest.raises(MemoryError):
        ChunkWriter(target).add([{"name": "a", "status": "passed"}])


@pytest.mark.parametrize(("value", "error"), [("\ud800", UnicodeEncodeError), (2**70, TypeError)])
def test_value_that_must_have_been_replaced_is_no_missing_memory(
    value: Any, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.reports.streams.chunks.clean_json", lambda results: (results, False))
    monkeypatch.setattr("service.reports.streams.chunks.portable_json", lambda results: results)
    with (tmp_path / "results").open("wb") as target, pytest.raises(error):
        ChunkWriter(target).add([{"name": value, "status": "passed"}])


# The status of these reports, and of another result that passed
STATUSES: Final = {
    "ctrf": '{"results": {"tests": [{"name": "a", "status": STATUS}, {"name": "b", "status": "passed"}]}}',
    "json": '[{"name": "a", "status": STATUS}, {"name": "b", "status": "passed"}]',
    "playwright": '{"config": {"argv": []}, "suites": [{"title": "s", "specs": [{"title": "a", "tests": [{"results": '
    '[{"status": STATUS}]}, {"expectedStatus": "passed", "results": [{"status": "passed"}]}]}]}]}',
    "cucumber": '[{"keyword": "Feature", "uri": "", "elements": [{"steps": [{"name": "a", "result": {"status": STATUS}}'
    ']}, {"steps": [{"name": "b", "result": {"status": "passed"}}]}]}]',
    "pytest-json": '{"created": 1, "duration": 1, "exitcode": 0, "tests": [{"nodeid": "a.py::a", "outcome": STATUS}, '
    '{"nodeid": "a.py::b", "outcome": "passed"}]}',
    "jest": '{"numTotalTestSuites": 1, "testResults": [{"assertionResults": [{"title": "a", "status": STATUS}, '
    '{"title": "b", "status": "passed"}]}]}',
    "mochawesome": '{"stats": {}, "results": [{"title": "", "tests": [{"fullTitle": "a", "state": STATUS}, '
    '{"fullTitle": "b", "state": "passed"}]}]}',
    "allure": '{"uuid": "u", "name": "a", "status": STATUS}',
}


@pytest.mark.parametrize("format_name", STATUSES)
@pytest.mark.parametrize(
    "status",
    ["18446744073709551616", f"-{'9' * 400}", "NaN", "1e999", "null", "true", "{}", "[[]]", '"\\ud800"', DEEP],
    ids=lambda status: status[:12],
)
def test_status_of_a_wrong_type_is_an_error(format_name: str, status: str, tmp_path: Path) -> None:
    _, results = convert_text(STATUSES[format_name].replace("STATUS", status), tmp_path)

    stored = [result["status"] for result in results]
    assert stored == (["error"] if format_name == "allure" else ["error", "passed"])


def _write_report(report: Path, syntax: str, cases: int) -> None:
    start, case, end = SYNTAXES[syntax]
    with report.open("w") as file:
        file.write(start)
        file.writelines(case.replace("{number}", str(number)) for number in range(cases))
        file.write(end)
