"""Decompression and conversion of an uploaded report; runs in a child process."""

import gzip
import zlib
from collections import Counter
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import orjson
import zstandard

from service.domain.reports import Encoding, ReportLimits
from service.reports.chunks import read_chunks
from service.reports.convert import ReportSummary, convert
from service.reports.errors import ReportError, malformed

_CHUNK_BYTES: Final = 256 * 1024
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_MAX_WINDOW: Final = 128 * 2**20  # bytes; a Zstandard frame can require gigabytes
_CASE_ID: Final = b'"case_id"'
_MAX_REPEATED: Final = 200_000  # results, which stay in memory until the end of the report


class ReadUpload(NamedTuple):
    """A converted report, and the case IDs that occur more than once: their further results are attempts."""

    summary: ReportSummary
    repeated_ids: frozenset[str]


def read_upload(
    source: Path, target: Path, content_type: str | None, encoding: Encoding | None, limits: ReportLimits
) -> ReadUpload:
    """Decompress the report if necessary, write its results to `target`, and delete the compressed file.

    Raises ReportError if the report can't be read or exceeds the limits.
    """
    compression = encoding or _detect_compression(source)
    if compression:
        decompressed = source.with_suffix(".decompressed")
        _decompress(source, decompressed, compression, limits.max_unpacked_bytes)
        source.unlink()
        source = decompressed
    summary = convert(source, target, content_type, limits.max_rows)
    return ReadUpload(summary, _repeated_ids(target))


def _detect_compression(source: Path) -> Encoding | None:
    """Return the compression of a file that was sent without Content-Encoding."""
    with source.open("rb") as file:
        head = file.read(len(_ZSTD))
    if head.startswith(_GZIP):
        return "gzip"
    return "zstd" if head == _ZSTD else None


def _decompress(source: Path, target: Path, encoding: Encoding, max_bytes: int) -> None:
    size = 0
    try:
        with source.open("rb") as compressed, target.open("wb") as file:
            reader = _decompressor(compressed, encoding)
            while chunk := reader.read(_CHUNK_BYTES):
                size += len(chunk)
                if size > max_bytes:
                    raise ReportError("too_large", f"the report is larger than {max_bytes} bytes after decompression")
                file.write(chunk)
    except (gzip.BadGzipFile, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise malformed(f"the {encoding} data is invalid: {error}") from None


def _decompressor(compressed: BinaryIO, encoding: Encoding) -> gzip.GzipFile | zstandard.ZstdDecompressionReader:
    if encoding == "gzip":
        return gzip.GzipFile(fileobj=compressed)
    return zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).stream_reader(compressed, read_across_frames=True)


def _repeated_ids(target: Path) -> frozenset[str]:
    counts: Counter[str] = Counter()
    for chunk in read_chunks(target):
        if _CASE_ID in chunk:
            counts.update(_case_ids(chunk))
    repeated = {case_id: count for case_id, count in counts.items() if count > 1}
    if sum(repeated.values()) > _MAX_REPEATED:
        raise malformed(f"case_id: more than {_MAX_REPEATED} results have a case_id that occurs several times")
    return frozenset(repeated)


def _case_ids(chunk: bytes) -> list[str]:
    results = [result for result in orjson.loads(chunk) if isinstance(result, dict)]
    return [case_id for result in results if isinstance(case_id := result.get("case_id"), str)]
