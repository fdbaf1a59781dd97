"""Characters that XML doesn't permit are replaced and noted, in every encoding and at every boundary of a chunk."""

from pathlib import Path
from typing import Any
from xml.parsers import expat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.reports.conversion.errors import ReportError
from service.reports.conversion.uploads import ReportFile, read_upload
from service.reports.model import ReportLimits
from service.reports.streams.xml import XmlRepair
from tests.reports.conversions import convert_text

NOTE = "XML: {} characters that XML doesn't permit, such as those of colors, were replaced by U+FFFD"
PARTS = st.sampled_from(
    ["<![CDATA[", "]]>", "]", "&#", "&#8;", "&#x1b;", "&#0000010;", "&#xD800;", "&#9;", "&amp;", "\x1b[31m", "\0", "€",
     "\ufffe", "\ufffd", "😀", "8;", "x", "<b/>"]
)  # fmt: skip


def report_of(text: str) -> str:
    return f'<testsuite name="s"><testcase name="c"><failure message="m">{text}</failure></testcase></testsuite>'


def details_of(report: str | bytes, folder: Path) -> tuple[Any, tuple[str, ...]]:
    summary, (result,) = convert_text(report, folder)
    return result["failure"]["details"], summary.notes


def repair_in_chunks(data: bytes, size: int) -> tuple[bytes, int]:
    repair = XmlRepair("utf-8")
    chunks = [repair.repair(data[at : at + size]) for at in range(0, len(data), size)]
    return b"".join([*chunks, repair.repair(b"", final=True)]), repair.replaced


@pytest.mark.parametrize(
    ("text", "details"),
    [
        ("a\x1b[31mred", "a\ufffd[31mred"),
        ("a&#8;b&#x1B;c&#0;d&#31;e", "a\ufffdb\ufffdc\ufffdd\ufffde"),
        ("a&#xD800;b&#xFFFF;c&#x110000;d&#99999999999;e", "a\ufffdb\ufffdc\ufffdd\ufffde"),
        ("<![CDATA[a\x08b]]>", "a\ufffdb"),
        ("\ufffe\uffff", "\ufffd\ufffd"),
    ],
    ids=range(5),
)
def test_invalid_character_is_replaced_and_noted(text: str, details: str, tmp_path: Path) -> None:
    assert details_of(report_of(text), tmp_path) == (details, (NOTE.format(details.count("\ufffd")),))


@pytest.mark.parametrize(
    ("text", "details"),
    [
        ("a&#9;b&#10;c&#xD;d&#x20AC;&#128512;&#0000065;", "a\tb\nc\rd€😀A"),
        ("<![CDATA[a&#8;b]]>", "a&#8;b"),
        ("<![CDATA[<![CDATA[&#8;]]>&lt;&#38;", "<![CDATA[&#8;<&"),
        ("a\ufffdb", "a\ufffdb"),
    ],
    ids=range(4),
)
def test_valid_text_is_unchanged(text: str, details: str, tmp_path: Path) -> None:
    assert details_of(report_of(text), tmp_path) == (details, ())


def test_invalid_reference_in_an_attribute_is_replaced(tmp_path: Path) -> None:
    _, (result,) = convert_text('<testsuite><testcase name="a&#27;b\x07"/></testsuite>', tmp_path)
    assert result["name"] == "a\ufffdb\ufffd"


@pytest.mark.parametrize(
    ("encoding", "text", "details", "count"),
    [
        ("latin-1", b"\xe4\x1b&#8;".decode("latin-1"), "ä\ufffd\ufffd", 2),
        ("utf-16", "ä\x1b&#8;", "ä\ufffd\ufffd", 2),
        ("cp1252", "€\x1b", "€\ufffd", 1),
    ],
)
def test_characters_are_replaced_in_every_encoding(
    encoding: str, text: str, details: str, count: int, tmp_path: Path
) -> None:
    report = f'<?xml version="1.0" encoding="{encoding}"?>{report_of(text)}'.encode(encoding)
    assert details_of(report, tmp_path) == (details, (NOTE.format(count),))


@pytest.mark.parametrize(
    ("encoding", "data", "details", "count"),
    [
        ("utf-8", b"\xff\xc3(\xe2\x82", "\ufffd\ufffd(\ufffd", 3),
        ("ascii", b"\xe4", "\ufffd", 1),
        ("shift_jis", b"\x82\xa0\xff", "あ\ufffd", 1),
    ],
)
def test_invalid_bytes_are_replaced(encoding: str, data: bytes, details: str, count: int, tmp_path: Path) -> None:
    head, tail = f'<?xml version="1.0" encoding="{encoding}"?>{report_of("|")}'.encode().split(b"|")
    assert details_of(head + data + tail, tmp_path) == (details, (NOTE.format(count),))


@pytest.mark.parametrize(
    "report",
    ['<testsuite><testcase name="a"></testsuite>', '<testsuite><testcase n\x1bame="a"/></testsuite>', "<testsuite>&x;"],
    ids=["tag", "name", "entity"],
)
def test_report_that_is_not_xml_otherwise_is_rejected_with_a_remedy(report: str, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"not well-formed XML: .*disable colors"):
        convert_text(report, tmp_path)


def test_entity_with_a_value_is_still_rejected(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="the DOCTYPE must not contain declarations"):
        convert_text('<!DOCTYPE testsuite [<!ENTITY x "&#8;">]><testsuite/>', tmp_path)


@settings(max_examples=150, deadline=None)
@given(st.lists(PARTS, max_size=12), st.integers(1, 20))
def test_boundaries_of_chunks_change_nothing(parts: list[str], size: int) -> None:
    data = f"<a>{''.join(parts)}</a>".encode()
    assert repair_in_chunks(data, size) == repair_in_chunks(data, len(data))


@settings(max_examples=150, deadline=None)
@given(st.lists(PARTS.filter(lambda part: part not in ("<![CDATA[", "]]>", "]", "&#")), max_size=12), st.booleans())
def test_repaired_text_is_well_formed(parts: list[str], in_cdata: bool) -> None:
    text = "".join(parts)
    data = f"<a><![CDATA[{text}]]></a>" if in_cdata else f"<a>{text}</a>"
    expat.ParserCreate("utf-8").Parse(repair_in_chunks(data.encode(), 7)[0], True)


def test_long_text_without_boundaries_is_not_buffered() -> None:
    repair = XmlRepair("utf-8")
    for text in (b"&#" + b"0" * 100, b"]" * 100, b"&" * 100, b"<" * 100):
        assert len(text) - len(repair.repair(text)) <= 32
        repair.repair(b"x")


def test_output_before_an_invalid_character_is_written_once(tmp_path: Path) -> None:
    files = []
    for number, control in enumerate(("", "\x1b", "")):
        case = f'<testcase name="{number}"><failure/><system-out>out {number}</system-out></testcase>'
        source = tmp_path / f"report-{number}"
        padding = "x" * 100_000
        source.write_text(f'<testsuite name="s"><system-out>of suite</system-out>{case}{padding}{control}</testsuite>')
        files.append(ReportFile(source, tmp_path / f"results-{number}", f"{number}.xml", None, None))

    read = read_upload(files, ReportLimits())

    assert read.output is not None
    text = read.output.read_text()
    assert [text.count(f"out {number}\n") for number in range(3)] == [1, 1, 1]
    assert [part["name"] for part in read.suite_output] == [f"{number}-s-system-out.txt" for number in (1, 2, 3)]
    assert read.summary.results == 3
    assert read.summary.notes == (f"1.xml: {NOTE.format(1)}",)


def test_control_character_in_trx_is_replaced(tmp_path: Path) -> None:
    message = "<Output><ErrorInfo><Message>a\x1b[31m&#8;b</Message></ErrorInfo></Output>"
    result = f'<UnitTestResult testName="a" outcome="Failed">{message}</UnitTestResult>'
    summary, (failed,) = convert_text(f"<TestRun><Results>{result}</Results></TestRun>", tmp_path)

    assert failed["failure"] == {"message": "a\ufffd[31m\ufffdb"}
    assert summary.notes == (NOTE.format(2),)
