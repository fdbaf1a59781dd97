"""The files of a folder or an archive: reports, files that must be reports but can't be read, and other files.

The command line and the server use the same rules. The command line runs on Python 3.10 without other packages, so this
module uses the standard library only.
"""

import re
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from service.reports.format_table import (
    REPORT_FORMATS,
    ReportFormat,
    detect_archive,
    find_archive_format,
    find_named,
    find_owner,
    find_signed,
    has_usual_name,
    media_type_of,
    normalize_media_type,
)
from service.reports.other_formats import find_other_format
from service.reports.report_heads import HEAD_BYTES, ReportHead

FileRole = Literal["report", "damaged", "unreadable", "other"]

# Files of Allure that contain no results: attachments, and those that the report generator reads.
_ATTACHMENT: Final = re.compile(r"[0-9a-f-]{32,36}-attachment(?:\.[\w.]+)?")
_OTHER_FILE: Final = re.compile(
    _ATTACHMENT.pattern
    + r"|(?:categories|executor|history|testrun|[a-z]+-trend)\.json|environment\.(?:properties|xml|json)"
)
_NESTED_ARCHIVE: Final = "archives in archives or folders can't be read. Send them as further files of the same upload."
_USUAL_NAME: Final = "has a usual name of reports, but isn't one"
BEHIND_TEXT: Final = "other text is in front of the report. Write logs to another file"
# In the name of an archive. `coverage-reports.zip` and `results-of-load.zip` can contain anything.
_ARCHIVED_REPORTS: Final = re.compile(
    "allure-results|junit|surefire|failsafe|tests?[-_]?(?:results|reports)", re.IGNORECASE
)
_ZIP_MEMBER: Final = re.compile(rb"PK\x03\x04.{22}(..)..", re.DOTALL)  # the name follows; its length is in the group
_TAR_BLOCK_BYTES: Final = 512
_COMPRESSION: Final = re.compile(r"\.(?:xz|bz2)$", re.IGNORECASE)  # that can't be read
_DOCUMENT: Final = re.compile(rb"<\?xml|<[\w.:-]+[\s/>]|^[ \t]*(?:\{\s*\"|\[\s*\{)", re.MULTILINE)


class FoundFile(NamedTuple):
    """A file of a folder or an archive.

    A damaged file must be a report by its name, but is empty, ends too early, or is garbage. An unreadable file must be
    a report by its content or its name, but has another format, so that its failures are missing. Only a
    report has a `format`. `reason` states why the file isn't one, and is empty for any file without a relation to
    tests.
    """

    role: FileRole
    format: ReportFormat | None = None
    reason: str = ""


def classify_file(file_name: str, first_bytes: bytes) -> FoundFile:
    """Return the role of a file. `first_bytes` has fewer bytes than HEAD_BYTES if the file is shorter.

    The content decides. A usual name decides only about files that other tools don't write: `TEST-a.xml` must be JUnit
    XML, but `output.xml` can be any file.
    """
    if is_attachment(file_name):
        return FoundFile("other")
    head = ReportHead(first_bytes)
    if signed := find_signed(head):
        return FoundFile("report", signed)
    if known := find_other_format(head):
        inner_name = _COMPRESSION.sub("", file_name)
        has_results = known.has_results or (inner_name != file_name and find_owner(inner_name) is not None)
        return FoundFile("unreadable" if has_results else "other", reason=known.message)
    if named := find_named(file_name, head):
        return FoundFile("report", named)
    if is_behind_text(media_type_of(file_name), head):
        return FoundFile("unreadable", reason=BEHIND_TEXT)
    if _is_damaged(file_name, first_bytes, head):
        return FoundFile("damaged")
    if owner := find_owner(file_name):
        return FoundFile("unreadable", reason=f"only {owner.title} has such names, but the content is another format")
    if find_archive_format(file_name) or detect_archive(first_bytes):
        return FoundFile("unreadable" if _packs_reports(file_name, first_bytes) else "other", reason=_NESTED_ARCHIVE)
    has_results = has_usual_name(file_name) and not is_of_folder(file_name)
    return FoundFile("other", reason=_USUAL_NAME if has_results else "")


def is_report(content_type: str | None, first_bytes: bytes) -> bool:
    """Return whether a file that isn't marked as a report must be one, by its content or by a special media type.

    Only the signature counts, so that text in front of a report doesn't hide it.
    """
    media_type, head = normalize_media_type(content_type), ReportHead(first_bytes)
    if any(media_type in known.media_types for known in REPORT_FORMATS if not known.is_detectable):
        return True
    other = find_other_format(head)
    return any(known.has_signature(head) for known in REPORT_FORMATS) or (other is not None and other.has_results)


def is_behind_text(media_type: str | None, head: ReportHead) -> bool:
    """Return whether other text, such as a line of a log, is in front of a report in XML or JSON."""
    if not media_type or not media_type.endswith(("xml", "json")):
        return False
    start = _DOCUMENT.search(head.text)
    if start is None or not start.start():
        return False
    document = ReportHead(head.text[start.start() :])
    other = find_other_format(document)
    return any(known.has_signature(document) for known in REPORT_FORMATS) or (other is not None and other.has_results)


def is_of_folder(name: str) -> bool:
    """Return whether a file has the name of a file in a folder of Allure that contains no results."""
    return _OTHER_FILE.fullmatch(_base_name(name)) is not None


def is_attachment(name: str) -> bool:
    """Return whether a file has the name of an attachment of Allure, whose content can look like a report."""
    return _ATTACHMENT.fullmatch(_base_name(name)) is not None


def _packs_reports(file_name: str, first_bytes: bytes) -> bool:
    """Return whether an archive must contain reports, by its name, or by the names of its first members.

    Only the suffixes of archives count: office documents and JAR files are ZIP files too.
    """
    if not find_archive_format(file_name):
        return False
    is_named = _ARCHIVED_REPORTS.search(_base_name(file_name)) is not None
    return is_named or any(map(has_usual_name, _member_names(first_bytes)))


def _member_names(first_bytes: bytes) -> Iterator[str]:
    if detect_archive(first_bytes) == "zip":
        for found in _ZIP_MEMBER.finditer(first_bytes):
            name = first_bytes[found.end() :][: int.from_bytes(found[1], "little")]
            yield name.decode(errors="replace")
        return
    for start in range(0, len(first_bytes), _TAR_BLOCK_BYTES):
        if detect_archive(first_bytes[start : start + _TAR_BLOCK_BYTES]) == "tar":
            yield first_bytes[start : start + 100].partition(b"\0")[0].decode(errors="replace")


def _base_name(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]


def _is_damaged(file_name: str, first_bytes: bytes, head: ReportHead) -> bool:
    text = head.text.rstrip()
    if head.is_blank:
        return media_type_of(file_name) is not None
    is_complete = len(first_bytes) >= HEAD_BYTES or text.endswith((b">", b"}", b"]"))
    is_text = text.startswith((b"<", b"{", b"["))
    return not (is_text and is_complete) and has_usual_name(file_name)
