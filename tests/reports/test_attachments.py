"""References to the files that a report names."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.reports.attachments import Attachment, MarkerScanner, references
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
