"""Archives of reports for tests."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import zstandard

from service.reports.conversion.uploads import ReadUpload, ReportFile, read_upload
from service.reports.model import Encoding, ReportLimits

Files = Mapping[str, bytes]


def suite(name: str) -> bytes:
    return f'<testsuite name="{name}"><testcase name="pays"/></testsuite>'.encode()


def pack_zip(files: Files, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


def pack_tar(files: Files, *members: tarfile.TarInfo, tar_format: int = tarfile.PAX_FORMAT) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tar_format) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in members:
            archive.addfile(member)
    return target.getvalue()


def pack_gzip(files: Files) -> bytes:
    return gzip.compress(pack_tar(files))


def pack_zstd(files: Files) -> bytes:
    return zstandard.compress(pack_tar(files))


PACKERS: Final[tuple[Callable[[Files], bytes], ...]] = (pack_zip, pack_tar, pack_gzip, pack_zstd)


def read_archive(
    data: bytes, folder: Path, name: str | None = None, encoding: Encoding | None = None,
    limits: ReportLimits | None = None,
) -> ReadUpload:  # fmt: skip
    (folder / "report-0").write_bytes(data)
    file = ReportFile(folder / "report-0", folder / "results-0", name, None, encoding)
    return read_upload([file], limits or ReportLimits())
