"""The table of report formats, and the detection of a format."""

import bz2
import lzma
import subprocess
import sys
from functools import partial
from io import BytesIO
from pathlib import Path
from time import process_time

import pytest

from service.reports.conversion.convert import open_report
from service.reports.conversion.errors import ReportError
from service.reports.format_table import REPORT_FORMATS, ReportFormatName, has_usual_name, media_type_of, suffix_of
from service.reports.formats import READERS
from service.reports.found_files import FileRole, classify_file, is_report
from service.reports.report_heads import HEAD_BYTES
from tests.reports.archive_files import pack_tar, pack_zip
from tests.reports.manifests import OWN
from tests.reports.work import executed_lines


def detect(content_type: str | None, head: bytes) -> str:
    return open_report(BytesIO(head), content_type)[1].format


@pytest.mark.parametrize(
    ("content_type", "name"),
    [
        ("application/xml", "junit"),
        ("text/xml; charset=utf-8", "junit"),
        ("Application/JSON", "json"),
        ("application/vnd.ctrf+json", "ctrf"),
        ("application/x-ndjson", "ndjson"),
    ],
)
def test_content_type_selects_the_format(content_type: str, name: str) -> None:
    assert detect(content_type, b"?") == name


@pytest.mark.parametrize(
    ("content_type", "head", "name"),
    [
        ("application/json", b"<testsuites/>", "junit"),
        ("application/json", b"<TestRun/>", "trx"),
        ("application/xml", b'{"config": {"argv": []', "playwright"),
        ("application/vnd.ctrf+json", b"<testsuite/>", "junit"),
        ("application/x-ndjson", b"not JSON", "ndjson"),
    ],
)
def test_first_bytes_select_the_format_if_they_contradict_the_content_type(
    content_type: str, head: bytes, name: str
) -> None:
    assert detect(content_type, head) == name


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"<?xml", "junit"),
        (b"\xef\xbb\xbf\r\n<testsuite>", "junit"),
        ("<testsuite>".encode("utf-16"), "junit"),
        (b'<?xml version="1.0"?>\n<!-- a - b -->\n<TestRun id="1">', "trx"),
        (b"<TestRuns>", "junit"),
        (b"<test-run id='2'>", "nunit"),
        (b"<assemblies>", "xunit"),
        (b"<assembly name='Shop.dll' run-date='2026-05-20'>", "xunit"),
        (b"<assembly manifestVersion='1.0'>", "junit"),
        (b"<?xml version='1.0'?><testng-results skipped='0'>", "testng"),
        (b"<?xml?><testsuite name='<TestRun>'/>", "junit"),
        (b"<!---->" * 500 + b"<testsuites>", "junit"),
        (b' \n{"results"', "json"),
        (b'{"Time":"2026-05-20T12:00:00Z","Action":"start","Package":"a"}', "go-test"),
        (b'go: downloading x v1\n# a\n{"ImportPath":"a","Action":"build-output"}', "go-test"),
        (b'{\n  "config": {\n    "argv": []', "playwright"),
        (b'{"config": {"configFile": "a"}, "suites": []}', "playwright"),
        (b'{"config": {"name": "a"}, "results": []}', "json"),
        (b'{\n "created": 1.5,\n "duration": 2e-3,\n "exitcode": 0,\n', "pytest-json"),
        (b'{"created": null, "duration": "a", "exitcode": 0}', "pytest-json"),
        (b'{"created": 1.5, "results": []}', "json"),
        (b"TAP version 13\n", "tap"),
        ("TAP version 14\r\n".encode("utf-16"), "tap"),
        (b"> npm test\n\nTAP version 13\n", "tap"),
        (b"# started\n\n1..7\n", "tap"),
        (b"1..0 # SKIP no network", "tap"),
        (b"not ok 1", "tap"),
        (b"# Subtest: a\n    ok 1 - b\n", "tap"),
        (b"[12:00:00] t/cart.t ..... \r\n1..2\n", "tap"),
        (b'{"numFailedTestSuites":0,"numFailedTests":0', "jest"),
        (b'\xef\xbb\xbf{\n  "numTotalTestSuites": 0', "jest"),
        (b'{\n  "stats": {\n    "suites": 1\n  },\n  "results": [\n    false', "mochawesome"),
        (b'{"name": "Action", "status": "passed"}', "ndjson"),
        (b'{"name": "{}", "properties": {"Action": "run"}}', "ndjson"),
        ("[{".encode("utf-16"), "json"),
    ],
)
@pytest.mark.parametrize("content_type", [None, "application/x-www-form-urlencoded", "application/octet-stream"])
def test_first_bytes_select_the_format_if_the_content_type_is_unknown(
    content_type: str | None, head: bytes, name: ReportFormatName
) -> None:
    reader, _ = open_report(BytesIO(head), content_type)

    assert reader is READERS[name]


@pytest.mark.parametrize(
    "head", [b"tests: 3 passed", b"\x1f\x8b\x08", b"   ", b"TAP version 12", b"1..b", b"ok then", b"t/cart.t .. ok\n"]
)
def test_other_first_bytes_are_unsupported_and_the_error_lists_the_formats(head: bytes) -> None:
    with pytest.raises(ReportError) as error:
        detect(None, head)

    assert error.value.reason == "unsupported_format"
    assert all(known.title in error.value.message for known in REPORT_FORMATS)


@pytest.mark.parametrize(
    ("name", "head", "found"),
    [
        ("a", b"<testsuite>", "junit"),
        ("a.xml", b"<svg/>", None),
        ("TEST-a.xml", b"<?xml version='1.0'?>", "junit"),
        ("a.js", b"write('<testsuite>')", None),
        ("a.json", b'{"results": []}', "json"),
        ("a.json", b'{"name": "a"}', None),
        ("a.ndjson", b'{"name": "a"}', "ndjson"),
        ("a.jsonl", b'{"name": "a"}', None),
        ("a.ndjson", b'{"meta":{"protocolVersion":"27.0.0","implementation":{"name":"cucumber-js"}}}', None),
        ("a.ndjson", b'{"protocolVersion":"0.1.1","type":"start"}', None),
    ],
)
def test_report_in_a_folder_is_found_by_its_content_or_its_usual_name(
    name: str, head: bytes, found: ReportFormatName | None
) -> None:
    known = classify_file(name, head).format
    assert (known.name if known else None) == found


def test_reports_of_all_tools_are_found_in_folders_and_archives() -> None:
    files = [path for path in OWN.rglob("*") if media_type_of(path.name)]
    unknown = {path.name for path in files if classify_file(path.name, path.read_bytes()[:HEAD_BYTES]).role != "report"}
    assert len(files) > 200
    assert unknown == {"empty.xml"}


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        ("a.xml", b"", "damaged"),
        ("a.xml", b"<?xml version='1.0'?>\n<!-- no root -->", "damaged"),
        ("a.txt", b"", "other"),
        ("a.xml", b"Error", "other"),
        ("unit/TEST-a.xml", b"Error", "damaged"),
        ("a.trx", b"Error", "damaged"),
        ("report.tap", b"Error", "damaged"),
        ("1-result.json", b'{"uuid": "1"', "damaged"),
        ("junit.xml", b"x" * HEAD_BYTES, "damaged"),
        ("a.trx", b"<" + b"x" * HEAD_BYTES, "unreadable"),
        ("1-result.json", b'{"status": "failed"}', "unreadable"),
        ("testng-results.xml", b"<html></html>", "unreadable"),
        ("output.xml", b"<html></html>", "other"),
        ("allure-results/1.json", b"{}", "other"),
        ("allure-results/executor.json", b"{}", "other"),
        (f"{'0' * 32}-attachment.xml", b"<testsuite/>", "other"),
        ("a.xml", b"INFO: <start>\n<?xml version='1.0'?><testsuites/>", "unreadable"),
        ("a.xml", b"[INFO] start\n<t:testsuite xmlns:t='urn:t'/>", "unreadable"),
        ("junit.xml", b"start\n<test-results/>", "unreadable"),
        ("a.json", b'> shop@1.0.0 test\n\n{\n  "numTotalTestSuites": 1', "unreadable"),
        ("a.json", b'Loading\n[{"keyword": "Feature", "elements": []}]', "unreadable"),
        ("a.xml", b"see below\n<html><body/></html>", "other"),
        ("a.json", b'// settings\n{"compilerOptions": {}}', "other"),
        ("build.log", b"cat junit.xml\n<testsuites/>", "other"),
        ("README.md", b"# JUnit\n\n<testsuites/>", "other"),
        ("TEST-a.xml.xz", lzma.compress(b"<testsuite/>"), "unreadable"),
        ("1-result.json.bz2", bz2.compress(b"{}"), "unreadable"),
        ("junit.xml.xz", lzma.compress(b"<testsuite/>"), "other"),
        ("data.csv.bz2", bz2.compress(b"a,b"), "other"),
        ("out/allure-results.zip", pack_zip({"a.png": b"a"}), "unreadable"),
        ("JUnit-reports.tar.gz", pack_tar({"a.png": b"a"}), "unreadable"),
        ("test_results.tar.zst", b"\x28\xb5\x2f\xfd", "unreadable"),
        ("linux.zip", pack_zip({"a.png": b"a", "out/TEST-a.xml": b"<testsuite/>"}), "unreadable"),
        ("linux.tgz", pack_tar({"a.png": b"a", "out/junit.xml": b"<testsuite/>"}), "unreadable"),
        ("coverage-reports.zip", pack_zip({"index.html": b"a"}), "other"),
        ("test-results/shop/trace.zip", pack_zip({"test.trace": b"a", "resources/1": b"a"}), "other"),
        ("junit-5.11.jar", pack_zip({"META-INF/MANIFEST.MF": b"a", "junit.xml": b"a"}), "other"),
    ],
)
def test_content_and_name_decide_the_role_of_a_file(name: str, head: bytes, expected: FileRole) -> None:
    assert classify_file(name, head).role == expected


@pytest.mark.parametrize(
    ("name", "is_noted"),
    [("output.xml", True), ("allure-results/1.json", True), ("allure-results/executor.json", False)],
)
def test_other_file_with_a_usual_name_has_a_reason(name: str, *, is_noted: bool) -> None:
    assert ("usual name" in classify_file(name, b"{}").reason) is is_noted


ALLURE = '{"status": "failed", "start": 1, "name": "a", "labels": [{"name": "suite", "value": "b"}], "uuid": "1"}'
LONG = "a" * HEAD_BYTES
JEST = '{"success": false, "testResults": [{"message": "", "assertionResults": [{"title": "a", "status": "failed"}]}]}'


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (ALLURE, "allure"),
        ('{"steps": [{"name": "a"}], "name": "a", "historyId": "1"}', "allure"),
        ('{"children": ["1"], "name": "a", "afters": [{"name": "b"}], "uuid": "1"}', "allure"),
        (JEST, "jest"),
        ('{"openHandles": [], "numTotalTestSuites": 1}', "jest"),
        ('{"errors": [], "stats": {"expected": 1}, "suites": []}', "playwright"),
        ('{"suites": [{"title": "a", "specs": [{"title": "b"', "playwright"),
        ('[{"tags": [], "elements": [], "keyword": "Feature"}]', "cucumber"),
        (f'[{{"line": 1, "elements": [{{"line": 2, "steps": [{{"name": "{LONG}', "cucumber"),
        (f'{{"status": "failed", "statusDetails": {{"message": "no", "trace": "{LONG}', "allure"),
        (f'{{"testResults": [{{"assertionResults": [{{"title": "{LONG}', "jest"),
        ('{"tests": [], "exitcode": 1}', "pytest-json"),
        ('{"meta": {}, "results": [{"uuid": "1", "tests": []}], "stats": {"suites": 1}}', "mochawesome"),
        (f"<?xml version='1.0'?><!-- {'license ' * 1_200} --><robot generator='Robot'/>", "robot"),
        ("<!DOCTYPE testsuite [<!ELEMENT testsuite (testcase)*>]><testsuite/>", "junit"),
        ("not ok - a\n", "tap"),
        ("not ok\n", "tap"),
        ("ok - a\n", "tap"),
        ("ok adds\nok pays\n1..2\n", "tap"),
        ("ok adds\nnot ok pays\n", "tap"),
        ("<t:testsuites xmlns:t='urn:t'/>", "junit"),
        ("<?xml version='1.0'?><vs:TestRun xmlns:vs='urn:vs'/>", "trx"),
        ("go: downloading a v1\n" * 500 + '{"Action":"run","Package":"a","Test":"TestA"}\n', "go-test"),
        ('{"results": {"summary": {"tests": 1}, "tool": {"name": "a"}}}', "ctrf"),
        (f'{{"results": {{"summary": {{"tests": 1}}, "tests": [{{"name": "{LONG}', "ctrf"),
        (f'{{"results": {{"tests": [{{"name": "{LONG}', "ctrf"),
    ],
)
def test_report_in_a_folder_is_found_with_any_order_and_form(head: str, found: ReportFormatName) -> None:
    known = classify_file("a", head.encode()).format
    assert known
    assert known.name == found
    assert detect(None, head.encode()) == found


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("a.json", b'{"meta": {"format": 3}, "files": {}, "totals": {}}'),  # coverage.py
        ("stats.json", b'{"version": "5", "stats": {"suites": 1, "tests": 1}, "results": {}}'),
        ("schema.json", b'{"version": "1", "examples": [{"name": "a"}], "suites": 1, "elements": []}'),
        ("messages.json", b'{"historyId": "1", "messages": []}'),  # Gmail
        ("a.json", b'{"exitcode": 1, "testResults": 3}'),
        ("Build.xml", b"<Site><Build/></Site>"),
        ("calendar.xml", b"<events><event/></events>"),
        ("coverage.xml", b"<coverage/>"),
        ("a.json", b'{"results": {"tests": 3, "summary": "none"}}'),
        ("wsdl.xml", b"<wsdl:definitions xmlns:wsdl='a'><wsdl:testcases/></wsdl:definitions>"),
        ("status.txt", b"ok\n"),
        ("notes.txt", b"ok then\nlet's go\n"),
    ],
)
def test_similar_file_of_another_program_is_no_report(name: str, head: bytes) -> None:
    assert classify_file(name, head).role == "other"


def test_work_for_a_name_is_small_whatever_its_length() -> None:
    has_usual_name("a")  # compiles the patterns
    names = ("a.png", f"{'a/' * 500}a.png", f"TEST-{'a' * 1_000}.png", f"{'ctrf' * 250}.png")

    work = {executed_lines(partial(has_usual_name, name)) for name in names}

    assert len(work) == 1
    assert max(work) < 10 * len(REPORT_FORMATS)


@pytest.mark.parametrize(
    "repeated", [b"\n", b" \n", b"<assembly ", b"<!-- -->", b"<!---", b"a.t ..", b"#\n", b'"labels":[{', b"[{"]
)
def test_time_of_the_detection_is_linear_in_the_first_bytes(repeated: bytes) -> None:
    for prefix in (b"", b"\n", b"a\n", b"a\n<a ", b"<assembly ", b'{"a":0,', b'[{"description":"'):
        whole, part = (_detection_s((prefix + repeated * HEAD_BYTES)[:size]) for size in (HEAD_BYTES, HEAD_BYTES // 4))
        assert whole < 10 * part + 0.01  # a quadratic time takes 16 times as long, or seconds


def _detection_s(head: bytes) -> float:
    """Return the least CPU time of several detections."""
    times = []
    for _ in range(3):
        started = process_time()
        is_report(None, head)
        classify_file("a.xml", head)
        times.append(process_time() - started)
    return min(times)


def test_empty_report_is_malformed() -> None:
    with pytest.raises(ReportError, match="empty"):
        detect("application/xml", b"")


@pytest.mark.parametrize("content_type", ["application/json", "application/x-ndjson"])
def test_first_bytes_select_between_formats_of_one_media_type(content_type: str) -> None:
    assert detect(content_type, b'{"Action":"run","Package":"a","Test":"TestB"}') == "go-test"
    assert detect(content_type, b'{"name": "a"}') in ("json", "ndjson")
    assert detect("application/json", b'{"config":{"argv":[]') == "playwright"
    assert detect("text/xml", "<TestRun>".encode("utf-16")) == "trx"


def test_general_format_names_the_stored_artifact() -> None:
    assert [suffix_of(media_type) for media_type in ("application/x-ndjson", "application/json", "text/xml", None)] == [
        ".ndjson", ".json", ".xml", "",
    ]  # fmt: skip


def test_longest_suffix_selects_the_media_type() -> None:
    names = ("JUNIT.XML", "a.trx", "report.ctrf.json", "report.json", "report.jsonl", "a.tap", "report.txt")

    assert [media_type_of(name) for name in names] == [
        "application/xml", "application/xml", "application/vnd.ctrf+json", "application/json", "application/x-ndjson",
        "application/tap", None,
    ]  # fmt: skip


TOY_FORMAT = """
import re, sys
from pathlib import Path
from service.reports import format_table as report_formats
toy = report_formats.ReportFormat("toy", "Toy", ("text/x-toy",), (".toy",), re.compile(rb"TOY"))
report_formats.REPORT_FORMATS = (*report_formats.REPORT_FORMATS, toy)

def read(source, metadata):
    yield [{"name": line.decode().strip(), "status": "passed"} for line in source.readlines()[1:]]

from service.reports.conversion import convert as formats
formats.READERS["toy"] = read

import orjson
from service.api.openapi.document import document
from service.client.user_commands import report
from service.reports.model import StoredPart, Upload
from service.reports.conversion.convert import convert
from service.reports.conversion.errors import unsupported

folder = Path(sys.argv[1])
(folder / "report").write_text("TOY\\none\\ntwo\\n")
for content_type in ("text/x-toy; charset=utf-8", None):
    summary = convert(folder / "report", folder / "results", content_type)
    assert (summary.format, summary.results) == ("toy", 2), summary
document = orjson.loads(document())
assert "text/x-toy" in document["paths"]["/v1/runs/{run_id}/report"]["post"]["requestBody"]["content"]
assert report_formats.normalize_media_type("Text/X-Toy") == "text/x-toy"
assert report_formats.media_type_of("nightly.toy") == "text/x-toy"
assert Upload((StoredPart("inbox/1/rcp_1/0", "a", "text/x-toy", 1, ""),), {}).artifacts()[0].name == "rcp_1.toy"
assert "Toy" in str(unsupported("nothing"))
assert "Toy" in report.help
"""


def test_new_format_needs_only_a_row_and_a_reader(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", TOY_FORMAT, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_every_format_has_a_reader() -> None:
    assert READERS.keys() == {known.name for known in REPORT_FORMATS}
