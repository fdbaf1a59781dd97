"""The archives that can contain reports: media types, file suffixes, and first bytes.

The command line runs on Python 3.10 without other packages, so this module uses the standard library only.
"""

import re
from typing import Final, Literal, NamedTuple

from service.domain.report_formats import media_types, normalize_media_type

ArchiveKind = Literal["zip", "tar"]


class ArchiveFormat(NamedTuple):
    """A media type of archives. The first suffix is the one of stored artifacts."""

    media_type: str
    suffixes: tuple[str, ...]


# Files with the media types of gzip and Zstandard are TAR archives, or single reports, according to their content.
ARCHIVE_FORMATS: Final = (
    ArchiveFormat("application/zip", (".zip",)),
    ArchiveFormat("application/x-tar", (".tar",)),
    ArchiveFormat("application/gzip", (".tar.gz", ".tgz")),
    ArchiveFormat("application/zstd", (".tar.zst", ".tzst")),
)
_COMPRESSION_SUFFIXES: Final = {"application/gzip": ".gz", "application/zstd": ".zst"}
_HEADS: Final[dict[ArchiveKind, re.Pattern[bytes]]] = {
    "zip": re.compile(rb"PK\x03\x04|PK\x05\x06"),
    "tar": re.compile(rb".{257}ustar", re.DOTALL),
}


def upload_media_types() -> tuple[str, ...]:
    """Return the media types of reports and of archives."""
    return *media_types(), *(known.media_type for known in ARCHIVE_FORMATS)


def normalize_upload_type(content_type: str | None) -> str | None:
    """Return the media type of a Content-Type header if reports or archives have it, otherwise None."""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if any(media_type == known.media_type for known in ARCHIVE_FORMATS):
        return media_type
    return normalize_media_type(content_type)


def find_archive_format(file_name: str) -> ArchiveFormat | None:
    """Return the format of an archive by its file name, or None if the name has no suffix of an archive."""
    name = file_name.lower()
    return next((known for known in ARCHIVE_FORMATS if name.endswith(known.suffixes)), None)


def archive_suffix(media_type: str | None) -> str:
    """Return the suffix of a file whose name is unknown, or an empty string if archives don't have the media type."""
    if media_type in _COMPRESSION_SUFFIXES:
        return _COMPRESSION_SUFFIXES[media_type]
    return next((known.suffixes[0] for known in ARCHIVE_FORMATS if known.media_type == media_type), "")


def detect_archive(head: bytes) -> ArchiveKind | None:
    """Return the kind of an archive by its first 512 bytes, or None for any other file."""
    return next((kind for kind, pattern in _HEADS.items() if pattern.match(head)), None)
