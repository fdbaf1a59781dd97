"""Which parser a report goes to."""

import pytest

from service.reports.errors import ReportError
from service.reports.formats import detect


@pytest.mark.parametrize(
    ("content_type", "syntax"),
    [
        ("application/xml", "xml"),
        ("text/xml; charset=utf-8", "xml"),
        ("Application/JSON", "json"),
        ("application/vnd.ctrf+json", "json"),
        ("application/x-ndjson", "json"),
    ],
)
def test_content_type_decides(content_type: str, syntax: str) -> None:
    assert detect(content_type, b"?") == syntax


@pytest.mark.parametrize(
    ("head", "syntax"),
    [
        (b"<?xml", "xml"),
        (b"\xef\xbb\xbf\r\n<testsuite>", "xml"),
        ("<testsuite>".encode("utf-16"), "xml"),
        (b' \n{"results"', "json"),
        ("[{".encode("utf-16"), "json"),
    ],
)
@pytest.mark.parametrize("content_type", [None, "application/x-www-form-urlencoded", "application/octet-stream"])
def test_first_bytes_decide_where_the_content_type_does_not(content_type: str | None, head: bytes, syntax: str) -> None:
    assert detect(content_type, head) == syntax


@pytest.mark.parametrize("head", [b"tests: 3 passed", b"\x1f\x8b\x08", b"PK\x03\x04", b"   "])
def test_other_bytes_are_unsupported(head: bytes) -> None:
    with pytest.raises(ReportError) as refusal:
        detect(None, head)

    assert refusal.value.reason == "unsupported_format"


def test_nothing_is_malformed() -> None:
    with pytest.raises(ReportError, match="empty"):
        detect("application/xml", b"")
