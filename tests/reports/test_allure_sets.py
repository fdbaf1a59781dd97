"""Sets of files of Allure results, and their detection."""

import gzip
import json
from pathlib import Path
from shutil import copytree

import pytest

from service.reports.conversion.convert import convert
from service.reports.conversion.errors import ReportError
from service.reports.conversion.names import Checkout
from service.reports.conversion.uploads import ReportFile, key_in_upload, read_upload
from service.reports.format_table import detect_format
from service.reports.model import ReportLimits
from tests.reports.allure_documents import START, container, labels_of, result, upload
from tests.reports.archive_files import pack_zip, suite
from tests.reports.manifests import OWN
from tests.reports.tools.reading import read_run


def test_many_files_are_one_report(tmp_path: Path) -> None:
    files = {f"{number}-result.json": json.dumps(result(f"u{number}")).encode() for number in range(300)}

    read = upload(tmp_path, files)

    assert (len(read.files), read.summary.results, read.summary.format) == (1, 300, "allure")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["embedded", "output", "results-0"]


def test_folder_of_5_000_tests_with_fixtures_and_files_is_read(tmp_path: Path) -> None:
    files = {f"{number}-result.json": json.dumps(result(f"u{number}")).encode() for number in range(5_000)}
    files |= {f"{number}-container.json": json.dumps(container(f"u{number}")).encode() for number in range(5_000)}
    files |= {f"{number}-attachment.txt": b"" for number in range(1_000)}

    assert upload(tmp_path, {"all.zip": pack_zip(files)}).summary.results == 5_000


def test_compressed_and_utf_16_files_are_joined(tmp_path: Path) -> None:
    files = {
        "a-result.json": gzip.compress(json.dumps(result("a")).encode()),
        "b-result.json": json.dumps(result("b")).encode("utf-16"),
        "c-result.json": json.dumps(result("c", name="\ud800"), indent=2).encode(),
    }

    assert upload(tmp_path, files).summary.results == 3


def test_other_reports_of_the_upload_stay_separate(tmp_path: Path) -> None:
    files = {
        "a-result.json": json.dumps(result()).encode(),
        "junit.xml": b"<testsuite><testcase name='a'/></testsuite>",
    }

    read = upload(tmp_path, files)

    assert [file.name for file in read.files] == ["Allure results", "junit.xml"]
    assert read.summary.results == 2


FAILED = json.dumps(result("u1", status="failed", historyId="h", labels=labels_of("junit-platform"))).encode()
PASSED = json.dumps(result("u2", historyId="h", start=START + 9_000, labels=labels_of("junit-platform"))).encode()


@pytest.mark.parametrize(
    "files",
    [
        {"chrome/a-result.json": FAILED, "firefox/b-result.json": PASSED},
        {"allure-results/a-result.json": FAILED, "allure-results/old/allure-results/b-result.json": PASSED},
        {"a-result.json": FAILED, "b/b-result.json": PASSED},
        {"chrome.zip": pack_zip({"a-result.json": FAILED}), "firefox.zip": pack_zip({"b-result.json": PASSED})},
        {"chrome.zip": pack_zip({"a-result.json": FAILED}), "b-result.json": PASSED},
        {"all.zip": pack_zip({"chrome/a-result.json": FAILED, "firefox/b-result.json": PASSED})},
    ],
    ids=["folders", "nested", "root", "archives", "archive and file", "archive"],
)
def test_worse_result_of_two_folders_is_stored(files: dict[str, bytes], tmp_path: Path) -> None:
    """A later pass in another browser, for example, is no retry of the failure."""
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)

    run = read_run(tmp_path)

    assert [(case.status, case.flaky, case.attempt_count) for case in run.cases] == [("failed", False, 1)]


@pytest.mark.parametrize("tool", ["pytest", "mocha", "jest", "vitest", "playwright", "playwright-2"])
def test_no_failure_disappears_in_two_folders_and_next_to_another_report(tool: str, tmp_path: Path) -> None:
    folder = OWN / "allure" / tool
    for name in ("chrome", "firefox"):
        copytree(folder, tmp_path / name / "allure-results")
    (tmp_path / "TEST-a.xml").write_bytes(suite("a"))

    alone, together = read_run(folder), read_run(tmp_path)

    outcomes = {case.key: (case.name, case.status, case.flaky) for case in together.cases}
    assert {case.key: (case.name, case.status, case.flaky) for case in alone.cases}.items() < outcomes.items()
    assert len(outcomes) == len(alone.cases) + 1


def test_attempts_are_executions_in_one_folder(tmp_path: Path) -> None:
    files = {"allure-results/a-result.json": FAILED, "allure-results/b-result.json": PASSED, "unit.xml": suite("a")}

    read = upload(tmp_path, {"all.zip": pack_zip(files)})

    assert [file.name for file in read.files] == ["Allure results", "all.zip/unit.xml"]
    results = json.loads((tmp_path / "results-0").read_text().splitlines()[0])
    assert [[each["status"] for each in result["attempts"]] for result in results] == [["failed", "passed"]]


@pytest.mark.parametrize("prefixes", [("web", "", "web"), ("", "web", "web")])
def test_path_prefix_of_a_folder_does_not_depend_on_the_order_of_its_files(
    prefixes: tuple[str, ...], tmp_path: Path
) -> None:
    reports = []
    for index, prefix in enumerate(prefixes):
        source = tmp_path / f"report-{index}"
        source.write_bytes(FAILED)
        name, checkout = f"{index}-result.json", Checkout.of(None, prefix)
        reports.append(ReportFile(source, tmp_path / f"results-{index}", name, None, None, checkout))
    assert [file.checkout.prefix for file in read_upload(reports, ReportLimits()).files] == ["web"]


def test_archives_with_one_name_are_separate(tmp_path: Path) -> None:
    """`curl` sends the name of a file without its folder."""
    reports = []
    for index, (status, content) in enumerate({"failed": FAILED, "passed": PASSED}.items()):
        source, document = tmp_path / f"report-{index}", json.loads(content)
        files = {
            "a-result.json": json.dumps({**document, "attachments": [{"source": "log.txt", "name": "log"}]}).encode()
        }
        source.write_bytes(pack_zip({**files, "log.txt": status.encode()}))
        reports.append(ReportFile(source, tmp_path / f"results-{index}", "results.zip", None, None))

    read = read_upload(reports, ReportLimits())

    assert [file.name for file in read.files] == ["results.zip", "results.zip (2)"]
    assert read.repeated == {key_in_upload({"suite": "shop.CartTest", "name": "adds"})}
    assert read.embedded
    assert read.embedded.read_bytes() == b"failedpassed"


def test_other_files_of_the_folder_are_ignored_with_a_note(tmp_path: Path) -> None:
    uuid = "11111111-2222-3333-4444-555555555555"
    files = {
        f"{uuid}-attachment.json": json.dumps(result("x", status="failed")).encode(),
        "categories.json": b'[{"name": "a", "matchedStatuses": ["failed"]}]',
        "executor.json": b'{"name": "ci", "buildOrder": 1}',
        "testrun.json": b'{"stop": 2, "name": "shop #7", "start": 1}',
        "history-trend.json": b"[]",
        "environment.properties": b"OS=linux",
        f"{uuid}-result.json": json.dumps(result()).encode(),
    }

    summary = upload(tmp_path, files).summary

    assert (summary.results, summary.failures_missing) == (1, False)
    assert summary.notes == (f"files without results: 6 were ignored, such as {uuid}-attachment.json",)


def test_report_of_another_tool_with_the_name_of_an_ignored_file_is_read(tmp_path: Path) -> None:
    files = {"allure-results/a-result.json": PASSED, "unit/environment.xml": suite("a")}

    read = upload(tmp_path, files)

    assert [file.name for file in read.files] == ["Allure results", "unit/environment.xml"]


@pytest.mark.parametrize(("label", "values"), [("host", ("a", "b")), ("thread", ("11-MainThread", "22-MainThread"))])
def test_executions_on_another_host_or_in_another_process_are_no_attempts(
    label: str, values: tuple[str, str], tmp_path: Path
) -> None:
    """Two jobs of a matrix write into one folder: a pass of one job doesn't hide the failure of the other one."""
    files = {}
    for status, value, start in zip(("failed", "passed"), values, (1, 9_000), strict=True):
        labels = [{"name": "framework", "value": "pytest"}, {"name": label, "value": value}]
        document = result(status, status=status, start=start, historyId="1", labels=labels)
        files[f"{status}-result.json"] = json.dumps(document).encode()

    read = upload(tmp_path, files)

    results = json.loads((tmp_path / "results-0").read_text().splitlines()[0])
    assert sorted(each["status"] for each in results) == ["failed", "passed"]
    assert any("state no retry: 1" in note for note in read.summary.notes)


def test_other_files_without_a_result_are_not_ignored(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"^executor\.json: "):
        upload(tmp_path, {"executor.json": b'{"type": "jenkins"}', "environment.properties": b"OS=linux"})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"uuid": "u", "historyId": "h", "steps": [', "invalid JSON: Expecting value"),
        (b'{"uuid": "u", "historyId": "h"} {}', "invalid JSON: Extra data"),
        (b'{"uuid": "u", "historyId": "\xff"}', "invalid JSON: 'utf-8' codec can't decode byte 0xff"),
        (b'{"uuid": "u", "historyId": "h", "steps": ' + b"[" * 200_000, "invalid JSON: a value is nested too deep"),
        (gzip.compress(b'{"uuid": "u", "historyId": "h"}' + b" " * 99_999)[:-9], "the gzip data is invalid"),
    ],
    ids=["truncated", "two documents", "encoding", "nested", "gzip"],
)
def test_unreadable_file_rejects_the_upload_with_its_name(content: bytes, reason: str, tmp_path: Path) -> None:
    files = {"a-result.json": json.dumps(result()).encode(), "b-result.json": content}

    with pytest.raises(ReportError) as error:
        upload(tmp_path, files)

    assert error.value.reason == "malformed_report"
    assert str(error.value).startswith(f"b-result.json: {reason}")


def test_all_files_together_are_limited(tmp_path: Path) -> None:
    files = {f"{number}-result.json": json.dumps(result()).encode() for number in range(3)}
    size = sum(map(len, files.values()))

    with pytest.raises(ReportError, match=r"^2-result\.json: the reports are larger than") as error:
        upload(tmp_path, files, ReportLimits(size - 1))

    assert error.value.reason == "too_large"


def test_file_of_unlimited_size_is_rejected(tmp_path: Path) -> None:
    content = b'{"uuid": "u", "historyId": "h", "description": "' + b"x" * 2**25 + b'"}'
    files = {"a-result.json": json.dumps(result()).encode(), "b-result.json": gzip.compress(content, 1)}

    with pytest.raises(ReportError, match=r"^b-result\.json: the result is larger than 33554432 bytes"):
        upload(tmp_path, files)


@pytest.mark.parametrize(
    "heading", ['{"allure_file":1,"size":2}', '{"allure_file":"a","size":-1}', '{"allure_file":"a"}', '{"allure_file":']
)
def test_invalid_heading_of_a_joined_file_is_rejected(heading: str, tmp_path: Path) -> None:
    (tmp_path / "report").write_text(f"{heading}\n{{}}\n")

    with pytest.raises(ReportError, match=r"heading of a joined file|invalid JSON"):
        convert(tmp_path / "report", tmp_path / "results")


@pytest.mark.parametrize(
    "head",
    [
        '{"uuid": "u", "name": "adds", "historyId": "h"',
        '{\n  "uuid" : "u",\n  "status" : "passed"',
        '{"historyId":"h","name":"adds","status":"passed"',
        '{"name": "adds", "status": "passed", "start": 1, "labels": [{"name": "suite"',
        '{"name": "adds", "status": "failed", "statusDetails": {"message": "' + "x" * 4_000,
        '{"name": "test_\\"adds\\"", "status": "passed", "steps": [{"name": "add", "status": "passed"',
        '{"name": "adds", "status": "passed", "start": 1, "stop": 2, "uuid": "u", "historyId": "h"',
        '{"uuid": "c", "children": ["u"], "befores": [',
        '{"uuid": "c", "befores": [{"name": "cart"',
        '{"uuid": "c", "start": 1, "stop": 2}',
        '{"attachments":[],"errors":[{"message":"failed"',
        '{"errors": [{"message": "failed", "timestamp": 1}]}',
    ],
)
def test_first_keys_of_the_adapters_are_detected(head: str) -> None:
    detected = detect_format("application/json", head.encode())

    assert detected is not None
    assert detected.name == "allure"


@pytest.mark.parametrize(
    "head",
    [
        '{"name": "adds", "status": "passed", "duration_ms": 1, "properties": {"historyId": "h"}}',
        '{"name": "adds", "status": "passed", "start": 1}',
        '{"results": [{"name": "adds", "historyId": "h"}]}',
        '{"errors": [{"message": "not found"}]}',
        '{"historyId": "55", "messages": []}',
        '{"labels": [], "historyId": "h"}',
        '[{"uuid": "u", "historyId": "h"}]',
    ],
)
def test_other_json_is_not_detected_as_allure(head: str) -> None:
    detected = detect_format("application/json", head.encode())

    assert detected is not None
    assert detected.name != "allure"
