"""An uploaded report on the disk of a worker becomes a file of results: the work of a child, which gets paths only."""

import gzip
import zlib
from collections import Counter
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import orjson
import zstandard

from service.domain.reports import Encoding
from service.reports.chunks import read_chunks
from service.reports.convert import ReportSummary, convert
from service.reports.errors import ReportError, malformed

_PIECE_BYTES: Final = 256 * 1024
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_MAX_WINDOW: Final = 128 * 2**20  # bytes; a frame may ask for gigabytes
_CASE_ID: Final = b'"case_id"'
_MAX_REPEATED: Final = 200_000  # results, which are held until the end


class ReadUpload(NamedTuple):
    """What the report held, and the producer's case ids that it names more than once: those are further attempts."""

    summary: ReportSummary
    repeated_ids: frozenset[str]


def read_upload(
    source: Path, target: Path, content_type: str | None, encoding: Encoding | None, max_bytes: int
) -> ReadUpload:
    """Writes the results to `target`. Raises ReportError for what can't be read or unpacks to too much."""
    packed = encoding or _encoding_by_bytes(source)
    if packed:
        unpacked = source.with_suffix(".unpacked")
        _unpack(source, unpacked, packed, max_bytes)
        source.unlink()
        source = unpacked
    summary = convert(source, target, content_type)
    return ReadUpload(summary, _repeated_ids(target))


def _encoding_by_bytes(source: Path) -> Encoding | None:
    """What a client has packed without saying so."""
    with source.open("rb") as file:
        head = file.read(len(_ZSTD))
    if head.startswith(_GZIP):
        return "gzip"
    return "zstd" if head == _ZSTD else None


def _unpack(source: Path, target: Path, encoding: Encoding, max_bytes: int) -> None:
    size = 0
    try:
        with source.open("rb") as packed, target.open("wb") as file:
            reader = _reader(packed, encoding)
            while piece := reader.read(_PIECE_BYTES):
                size += len(piece)
                if size > max_bytes:
                    raise ReportError("too_large", f"the report unpacks to more than {max_bytes} bytes")
                file.write(piece)
    except (gzip.BadGzipFile, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise malformed(f"not {encoding}: {error}") from None


def _reader(packed: BinaryIO, encoding: Encoding) -> gzip.GzipFile | zstandard.ZstdDecompressionReader:
    if encoding == "gzip":
        return gzip.GzipFile(fileobj=packed)
    return zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).stream_reader(packed, read_across_frames=True)


def _repeated_ids(target: Path) -> frozenset[str]:
    counts: Counter[str] = Counter()
    for chunk in read_chunks(target):
        if _CASE_ID in chunk:
            counts.update(_case_ids(chunk))
    repeated = {case_id: count for case_id, count in counts.items() if count > 1}
    if sum(repeated.values()) > _MAX_REPEATED:
        raise malformed(f"more than {_MAX_REPEATED} results share their case_id with others")
    return frozenset(repeated)


def _case_ids(chunk: bytes) -> list[str]:
    results = [result for result in orjson.loads(chunk) if isinstance(result, dict)]
    return [case_id for result in results if isinstance(case_id := result.get("case_id"), str)]
