"""References to the files that a report names."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.reports.conversion.attachments import Attachment, references
from service.reports.conversion.attempts import add_attempt
from service.reports.conversion.uploads import ReportFile, read_upload
from service.reports.formats.junit.cases import number_retries
from service.reports.formats.junit.reader import MarkerScanner
from service.reports.model import ReportLimits
from tests.reports.conversions import convert_text


def test_files_with_the_same_name_get_unique_names() -> None:
    found = references([Attachment("a/trace.zip"), Attachment("../b/trace.zip"), Attachment("a/trace.zip")])

    assert [(artifact["name"], artifact["uri"]) for artifact in found] == [
        ("trace.zip", "a/trace.zip"),
        ("b-trace.zip", "../b/trace.zip"),
    ]


def test_windows_paths_and_urls_have_base_names() -> None:
    found = references([Attachment(r"C:\out\shot.PNG"), Attachment("https://ci.example.org/video.mp4?x=1/2")])

    assert [(artifact["name"], artifact["kind"]) for artifact in found] == [
        ("shot.PNG", "screenshot"),
        ("video.mp4", "video"),
    ]


def test_content_type_decides_the_kind_if_the_name_has_no_suffix() -> None:
    (found,) = references([Attachment("out/4711", "after login", "image/png")])

    assert found == {"kind": "screenshot", "name": "after login", "uri": "out/4711", "content_type": "image/png"}


def test_name_gets_the_suffix_of_its_file() -> None:
    found = references(
        [
            Attachment("out/test-failed-1.png", "screenshot"),
            Attachment("out/trace.zip", "trace", attempt=1),
            Attachment("out/page.html", "page.txt"),
            Attachment("out/a.png", "../after login/step 1\n"),
        ]
    )
    names = [artifact["name"] for artifact in found]
    assert names == ["screenshot.png", "attempt-1-trace.zip", "page.txt", "after login/step 1.png"]


def test_files_whose_names_and_paths_are_equal_get_unique_names() -> None:
    paths = ["b/trace.zip", "../b/trace.zip", "./b/trace.zip", "b\\trace.zip"]
    found = references([Attachment(path) for path in paths])
    assert [artifact["name"] for artifact in found] == ["trace.zip", "b-trace.zip", "2-b-trace.zip", "3-b-trace.zip"]
    assert [artifact["uri"] for artifact in found] == paths


def test_folders_of_playwright_state_the_attempt() -> None:
    folders = ["pay-chromium", "pay-chromium-retry1", "pay-chromium-retry2"]
    found = references(number_retries([Attachment(f"test-results/{folder}/trace.zip") for folder in folders]))
    assert [artifact["name"] for artifact in found] == ["attempt-1-trace.zip", "attempt-2-trace.zip", "trace.zip"]


def test_files_of_repeated_cases_state_the_attempt(tmp_path: Path) -> None:
    case = "<testcase name='a' classname='b'><failure/><system-out>[[ATTACHMENT|{}/shot.png]]</system-out></testcase>"
    report = f"<testsuite>{case.format(1)}{case.format(2)}</testsuite>"
    merged = add_attempt(*convert_text(report, tmp_path)[1])
    names = {artifact["name"]: artifact["uri"] for artifact in merged["artifacts"] or ()}
    assert names == {"attempt-1-shot.png": "1/shot.png", "shot.png": "2/shot.png"}


def test_files_that_a_suite_names_belong_to_the_run(tmp_path: Path) -> None:
    report = tmp_path / "junit.xml"
    report.write_text(
        "<testsuites><testsuite name='s'><testcase name='a'/><system-out>[[ATTACHMENT|logs/app.log]]</system-out>"
        "</testsuite><testsuite><system-err>[[ATTACHMENT|logs/db.log]]</system-err></testsuite></testsuites>"
    )
    read = read_upload([ReportFile(report, tmp_path / "results", None, None, None)], ReportLimits())
    assert [(file["name"], file["uri"]) for file in read.suite_files] == [
        ("app.log", "logs/app.log"), ("db.log", "logs/db.log"),
    ]  # fmt: skip


def test_empty_paths_are_omitted() -> None:
    assert references([Attachment("")]) == []


@given(
    st.lists(st.sampled_from(["[[ATTACHMENT|a.png]]", "[", "]", "\n", "[[ATT", "text", "[[ATTACHMENT|b c]]"])),
    st.data(),
)
def test_markers_are_found_across_chunk_boundaries(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    complete = MarkerScanner().scan(text)
    boundary = data.draw(st.integers(0, len(text)))

    scanner = MarkerScanner()

    assert scanner.scan(text[:boundary]) + scanner.scan(text[boundary:]) == complete


@pytest.mark.parametrize(
    "output",
    [
        "[[ATTACHMENT|" * 80_000,
        ("[[ATTACHMENT|" + "a" * 100) * 9_000,
        ("[[ATTACHMENT|" + "]" * 20) * 30_000,
        "[[ATTACHMENT|" + "[" * 1_000_000,
        "[[ATTACHMENT|a&amp;" * 50_000,
    ],
    ids=["starts", "paths", "brackets", "one start", "entities"],
)
def test_crafted_output_is_read_in_linear_time(output: str, tmp_path: Path) -> None:
    report = f"<testsuite><testcase name='a'><system-out>{output}</system-out></testcase></testsuite>"
    started = time.process_time()
    _, [result] = convert_text(report, tmp_path)
    assert time.process_time() - started < 1.5
    assert len(result.get("artifacts", [])) <= 200
