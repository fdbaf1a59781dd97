"""Which parser a report goes to."""

from typing import Final, Literal

from service.reports.errors import ReportError, malformed

Syntax = Literal["xml", "json"]

HEAD_BYTES: Final = 256  # as much as `detect` needs to see

_BY_TYPE: Final[dict[str, Syntax]] = {
    "application/xml": "xml",
    "text/xml": "xml",
    "application/json": "json",
    "application/vnd.ctrf+json": "json",
    "application/x-ndjson": "json",
}
_MARKS_AND_SPACE: Final = b"\xef\xbb\xbf\xff\xfe\0 \t\r\n\x1e"


def detect(content_type: str | None, head: bytes) -> Syntax:
    """What the content type names, else what the first bytes look like; which JSON it is, its keys tell."""
    if not head:
        raise malformed("the report is empty")
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type in _BY_TYPE:
        return _BY_TYPE[media_type]
    match head.lstrip(_MARKS_AND_SPACE)[:1]:
        case b"<":
            return "xml"
        case b"{" | b"[":
            return "json"
        case _:
            raise ReportError("unsupported_format", "unsupported format: neither XML nor JSON")
