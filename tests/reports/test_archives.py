"""Archives of reports: their members are the reports of one upload, and no archive can do harm."""

import gzip
import io
import random
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard

from service.reports.archives import members
from service.reports.archives.members import MAX_MEMBERS
from service.reports.conversion import uploads
from service.reports.conversion.errors import ReportError
from service.reports.conversion.processes import ParserProcess
from service.reports.conversion.uploads import ReportFile, key_in_upload, open_results, read_results
from service.reports.model import ReportLimits
from tests.reports.archive_files import PACKERS, Files, pack_gzip, pack_tar, pack_zip, read_archive, suite
from tests.reports.manifests import OWN

PNG = b"\x89PNG\r\n\x1a\n"
GO = b'{"Action":"pass","Package":"shop","Test":"TestPays","Elapsed":1}\n'
PLAYWRIGHT = (
    b'{"config": {"argv": []}, "suites": [{"title": "cart.spec.ts", "file": "cart.spec.ts", "specs": [{"title": "adds",'
    b' "ok": true, "tests": [{"expectedStatus": "passed", "status": "expected", "projectName": "", "results":'
    b' [{"status": "passed", "duration": 5}]}]}]}]}'
)
TRX = (
    b'<TestRun><Results><UnitTestResult testName="Pays" testId="1" outcome="Passed"/></Results><TestDefinitions>'
    b'<UnitTest name="Pays" id="1"><TestMethod className="Shop.Cart" name="Pays"/></UnitTest></TestDefinitions>'
    b"</TestRun>"
)


def names(data: bytes, folder: Path) -> list[str | None]:
    return [file.name for file in read_archive(data, folder).files]


def error_of(data: bytes, folder: Path, limits: ReportLimits | None = None) -> ReportError:
    with pytest.raises(ReportError) as raised:
        read_archive(data, folder, limits=limits)
    return raised.value


@pytest.mark.parametrize("pack", PACKERS)
def test_every_report_of_an_archive_is_read(pack: Callable[[Files], bytes], tmp_path: Path) -> None:
    files = {"unit/TEST-a.xml": suite("a"), "b.xml": suite("b"), "c.xml.gz": gzip.compress(suite("c"))}
    read = read_archive(pack(files), tmp_path, "results.zip")
    assert [file.name for file in read.files] == [f"results.zip/{name}" for name in files]
    assert read.summary.results == 3
    assert {path.name for path in tmp_path.iterdir()} == {"embedded", "output", "results-0"}


@pytest.mark.parametrize("sizes", [(100, 300_000), (300_000,), (2**18 - 1,), (2**18,), (2**18 + 1,)])
def test_reports_of_all_sizes_are_read_and_deleted(sizes: tuple[int, ...], tmp_path: Path) -> None:
    files = {f"{size}.xml{suffix}": suite(f"s{size}").ljust(size) for size in sizes for suffix in ("", ".gz")}
    packed = {name: gzip.compress(data) if name.endswith("gz") else data for name, data in files.items()}
    read = read_archive(pack_zip(packed), tmp_path)
    assert read.summary.results == len(files)
    with open_results(read.files) as results:
        suites = [orjson.loads(b"".join(read_results(results, file)))[0]["suite"] for file in read.files]
    assert suites == [f"s{size}" for size in sizes for _ in range(2)]
    assert {path.name for path in tmp_path.iterdir()} == {"embedded", "output", "results-0"}


def test_reports_of_an_unnamed_archive_have_their_paths(tmp_path: Path) -> None:
    assert names(pack_zip({"unit/a.xml": suite("a")}), tmp_path) == ["unit/a.xml"]


def test_compressed_archive_with_content_encoding_is_read(tmp_path: Path) -> None:
    files = {"a.xml": suite("a")}
    for data in (pack_gzip(files), gzip.compress(pack_gzip(files)), gzip.compress(pack_zip(files))):
        assert read_archive(data, tmp_path, encoding="gzip").summary.results == 1


def test_reports_of_several_formats_are_found_by_their_content(tmp_path: Path) -> None:
    files = {
        "junit": suite("a"),
        "events": GO,
        "playwright.bin": PLAYWRIGHT,
        "dotnet": TRX,
        "n.ndjson": b'{"name":"a"}',
    }
    read = read_archive(pack_zip(files), tmp_path)
    assert [file.name for file in read.files] == list(files)
    assert read.summary.results == 5


@pytest.mark.parametrize("tool", ["jest", "mocha", "pytest"])
def test_allure_results_are_one_report_with_the_errors_of_the_run(tool: str, tmp_path: Path) -> None:
    folder = OWN / "allure" / tool
    read = read_archive(pack_zip({path.name: path.read_bytes() for path in folder.iterdir()}), tmp_path)
    assert [file.name for file in read.files] == [None]
    assert read.summary.results >= len(list(folder.glob("*-globals.json"))) + 1
    assert not any("-result.json" in note or "-globals.json" in note for note in read.summary.notes)


def test_disk_contains_joined_files_once_during_the_conversion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files: set[str] = set()

    def list_files(*arguments: Any) -> Any:
        files.update(path.name for path in tmp_path.iterdir())
        return convert(*arguments)

    convert = uploads._convert_all
    monkeypatch.setattr(uploads, "_convert_all", list_files)
    folder = OWN / "allure" / "pytest"
    read_archive(pack_zip({path.name: path.read_bytes() for path in folder.iterdir()}), tmp_path)
    assert files == {"embedded", "output", "results-0", "joined-0", "report-0-files"}


def test_other_files_are_noted_and_those_of_macos_are_not(tmp_path: Path) -> None:
    other = {f"{number}.png": PNG for number in range(4)}
    files = {"a.xml": suite("a"), **other, "__MACOSX/._a.xml": b"", "x/.DS_Store": b"", "x/._b.xml": b"", "empty/": b""}
    notes = read_archive(pack_zip(files), tmp_path, "r.zip").summary.notes
    assert notes == ("r.zip: ignored: 4 files that aren't reports: 0.png, 1.png, 2.png, …",)


def test_report_in_an_unreadable_format_makes_the_failures_missing(tmp_path: Path) -> None:
    files = {
        "a.xml": suite("a"),
        "dart.json": b'{"protocolVersion": "0.1.1"}',
        "ctest.xml": b"<?xml?><Site><Testing/></Site>",
    }
    files |= {"messages.ndjson": b'{"meta": {"protocolVersion": "27.0.0"}}'}
    read = read_archive(pack_zip(files), tmp_path, "r.zip")
    assert [note.partition(":")[0] for note in read.unreadable] == [f"r.zip/{name}" for name in list(files)[1:]]
    assert "Convert them to JUnit XML" in read.unreadable[0]
    assert read.summary.failures_missing
    assert not read.summary.notes


@pytest.mark.parametrize(("named", "is_missing"), [("output.json", False), ("/ci/logs/output.json", True)])
def test_unreadable_report_is_an_attachment_only_with_its_path(named: str, is_missing: bool, tmp_path: Path) -> None:
    attachment = f"<testcase name='a'><system-out>[[ATTACHMENT|{named}]]</system-out></testcase>"
    files = {
        "a.xml": f"<testsuite name='a'>{attachment}</testsuite>".encode(),
        "output.json": b'{"generator": "Robot 7.5", "rpa": false, "suite": {}}',
    }
    assert read_archive(pack_zip(files), tmp_path, "r.zip").summary.failures_missing is is_missing


def test_archive_in_an_archive_is_noted(tmp_path: Path) -> None:
    files = {"a.xml": suite("a"), "trace.zip": pack_zip({"b.xml": suite("b")}), "c.tgz": pack_gzip({"c.xml": b"<a/>"})}
    read = read_archive(pack_zip(files), tmp_path)
    assert [file.name for file in read.files] == ["a.xml"]
    [note] = read.summary.notes
    assert note.startswith("ignored: trace.zip, c.tgz: archives in archives or folders can't be read.")


@pytest.mark.parametrize("files", [{}, {"a.png": PNG}, {"dart.json": b'{"protocolVersion": "0.1.1"}'}], ids=range(3))
def test_archive_without_a_report_is_rejected(files: Files, tmp_path: Path) -> None:
    error = error_of(pack_zip(files), tmp_path)
    assert error.reason == "unsupported_format"
    assert error.message.startswith("the archive contains no report")
    assert ("Convert them to JUnit XML" in error.message) == ("dart.json" in files)
    assert ".." not in error.message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.xml", b""),
        ("a.json", b" \n"),
        ("a.trx", b"\0" * 9_000),
        ("a.jsonl", b""),
        ("a.xml.gz", gzip.compress(b"", mtime=0)),
        ("TEST-a.xml", b"Error: the disk is"),
        ("TEST-a.xml", b'<?xml version="1.0"?>'),
        ("TEST-a.xml", b"<testsuite><testcase"),
    ],
)
def test_empty_or_incomplete_report_rejects_the_archive(name: str, content: bytes, tmp_path: Path) -> None:
    error = error_of(pack_zip({"ok.xml": suite("ok"), name: content}), tmp_path)
    assert error.reason == "malformed_report"
    assert error.message.startswith(name)


@pytest.mark.parametrize("name", ["/etc/a.xml", "../../a.xml", "..\\..\\a.xml", "C:\\x\\..\\a.xml", "a\x1b[31m.xml"])
@pytest.mark.parametrize("pack", [pack_zip, pack_tar])
def test_no_path_leaves_the_archive(name: str, pack: Callable[[Files], bytes], tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    [found] = names(pack({name: suite("a")}), folder)
    assert found in ("etc/a.xml", "a.xml", "x/a.xml", "a\N{REPLACEMENT CHARACTER}[31m.xml")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert {path.name for path in folder.iterdir()} == {"embedded", "output", "results-0"}


def test_worse_outcome_of_files_with_the_same_name_stays(tmp_path: Path) -> None:
    failed = suite("a").replace(b"/></", b"><failure/></testcase></")
    data = pack_zip({"a.xml": failed, "b.xml": suite("a")}).replace(b"b.xml", b"a.xml")
    read = read_archive(data, tmp_path)
    assert [file.name for file in read.files] == ["a.xml", "a.xml"]
    assert read.repeated == {key_in_upload({"suite": "a", "name": "pays"})}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_link_or_device_is_no_report(kind: bytes, tmp_path: Path) -> None:
    link = tarfile.TarInfo("latest")
    link.type, link.linkname = kind, "/etc/passwd"
    data = pack_tar({"a.xml": suite("a")}, link)
    assert read_archive(data, tmp_path).summary.notes == ("ignored: 1 file that isn't a report: latest",)
    link.name = "TEST-b.xml"
    assert "TEST-b.xml is a link or a device" in error_of(pack_tar({"a.xml": suite("a")}, link), tmp_path).message


def test_link_in_a_zip_file_is_no_report(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("b.xml")
    link.external_attr = 0o120777 << 16
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "b.xml is a link or a device" in error_of(target.getvalue(), tmp_path).message


def test_encrypted_and_unusually_compressed_members_are_named(tmp_path: Path) -> None:
    data = bytearray(pack_zip({"a.xml": suite("a")}))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    assert "a.xml is encrypted" in error_of(bytes(data), tmp_path).message
    for compression in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        error = error_of(pack_zip({"a.xml": suite("a")}, compression), tmp_path)
        assert "a.xml has an unsupported compression" in error.message


def test_sparse_file_is_refused(tmp_path: Path) -> None:
    sparse = tarfile.TarInfo("a.xml")
    sparse.type = tarfile.GNUTYPE_SPARSE
    assert "a.xml is a sparse file" in error_of(pack_tar({}, sparse, tar_format=tarfile.GNU_FORMAT), tmp_path).message


def test_unpacked_bytes_are_limited_whatever_the_headers_state(tmp_path: Path) -> None:
    limits = ReportLimits(max_unpacked_bytes=200_000)
    for pack in PACKERS:
        data = pack({"a.xml": suite("a"), "b.xml": suite("b" * 300_000)})
        assert error_of(data, tmp_path, limits).reason == "too_large"
    understated = bytearray(pack_zip({"b.xml": suite("b" * 300_000)}))
    struct.pack_into("<I", understated, understated.index(b"PK\x01\x02") + 24, 60)
    assert error_of(bytes(understated), tmp_path, limits).reason == "malformed_report"


def test_reports_and_archive_share_the_limit_of_unpacked_bytes(tmp_path: Path) -> None:
    packed = gzip.compress(suite("a" * 150_000))
    files = {"a.xml.gz": packed, "b.xml.gz": gzip.compress(suite("b" * 150_000))}
    error = error_of(pack_zip(files), tmp_path, ReportLimits(max_unpacked_bytes=200_000))
    assert (error.reason, error.message.partition(":")[0]) == ("too_large", "b.xml.gz")


def test_size_of_the_results_is_limited_for_all_reports_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"{name}.xml": suite(name * 400) for name in "abc"}
    assert read_archive(pack_zip(files), tmp_path).summary.results == 3
    monkeypatch.setattr("service.reports.streams.chunks._MAX_FILE_BYTES", 1_000)
    assert error_of(pack_zip(files), tmp_path).message == "c.xml: the results of the upload are larger than 1000 bytes"


def test_damaged_compression_of_a_report_names_it(tmp_path: Path) -> None:
    cut = gzip.compress(suite("a") + random.Random(1).randbytes(1_000))[:-4]
    error = error_of(pack_zip({"a.xml.gz": cut}), tmp_path)
    assert (error.reason, error.message.partition(":")[0]) == ("malformed_report", "a.xml.gz")


@pytest.mark.parametrize("pack", PACKERS)
def test_archive_that_expands_too_much_is_refused(
    pack: Callable[[Files], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.reports.archives.members._MAX_RATIO", 20)
    monkeypatch.setattr("service.reports.archives.members._MIN_BOMB_BYTES", 1_000)
    data = pack({"a.xml": suite("a" * 500_000)})
    if pack is not pack_tar:
        assert "more than 20 bytes per compressed byte" in error_of(data, tmp_path).message


@pytest.mark.parametrize("pack", [pack_zip, pack_gzip])
def test_number_of_members_is_limited(
    pack: Callable[[Files], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.reports.archives.members.MAX_MEMBERS", 5)
    monkeypatch.setattr("service.reports.conversion.uploads.MAX_MEMBERS", 5)
    files = {f"{number}.png": PNG for number in range(5)}
    assert error_of(pack(files), tmp_path).reason == "unsupported_format"
    error = error_of(pack({**files, "a.xml": suite("a")}), tmp_path)
    assert (error.reason, error.message) == ("too_large", "the archives of an upload have at most 5 files and folders")


def test_directory_with_millions_of_entries_is_refused_without_reading_it(tmp_path: Path) -> None:
    entry = bytearray(46)
    entry[:4] = b"PK\x01\x02"
    for count, reason in (
        (MAX_MEMBERS + 1, "at most 50000 files"),
        (400_000, "the directory of the archive is larger"),
    ):
        size = count * len(entry)
        end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0, 0, size, 4, 0)
        data = b"PK\x03\x04" + bytes(entry) * count + end
        tracemalloc.start()
        error = error_of(data, tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (error.reason, reason in error.message) == ("too_large", True)
        assert peak < 3 * len(data) + 2**25  # Python 3.11 and 3.12 reserve 16 MiB to read the end of the file


@pytest.mark.parametrize("is_last_byte", [False, True])
def test_overlapping_members_are_refused(*, is_last_byte: bool, tmp_path: Path) -> None:
    data = bytearray(pack_zip({"a.xml": suite("a"), "b.xml": suite("b")}))
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    (start,) = struct.unpack_from("<I", data, second + 42)
    struct.pack_into("<I", data, second + 42, start - len("a.xml") - 1 if is_last_byte else 10)
    assert "b.xml overlaps another file" in error_of(bytes(data), tmp_path).message


@pytest.mark.parametrize("length", [1_025, 60_000])
@pytest.mark.parametrize("pack", [pack_zip, pack_tar])
def test_long_names_are_refused(length: int, pack: Callable[[Files], bytes], tmp_path: Path) -> None:
    error = error_of(pack({"n" * length: suite("a")}), tmp_path)
    assert error.message.endswith("the name in the archive is longer than 1024 characters")


@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_headers_of_a_tar_member_are_limited(tar_format: int, tmp_path: Path) -> None:
    data = pack_tar({"n" * 300_000: suite("a")}, tar_format=tar_format)
    assert "the headers of a file in the archive are larger" in error_of(data, tmp_path).message


def test_headers_of_all_tar_members_are_limited(tmp_path: Path) -> None:
    member = tarfile.TarInfo("a.png")
    member.pax_headers = {"comment": "x" * 250_000}
    error = error_of(gzip.compress(member.tobuf(tarfile.PAX_FORMAT) * 150 + bytes(1_024), 1), tmp_path)
    assert (error.reason, error.message) == ("too_large", "the headers of the archive exceed 33554432 bytes")


def test_end_of_a_zip_file_is_read_without_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pack_zip({"a.xml": suite("a")})
    (tmp_path / "a.zip").write_bytes(data)
    with members._GuardedFile(io.FileIO(tmp_path / "a.zip")) as file:
        assert file.read() == data
        file.seek(0)
        monkeypatch.setattr(members, "_MAX_DIRECTORY_BYTES", len(data) - 1)
        with pytest.raises(ReportError, match="the directory of the archive is larger than"):
            file.read()


def test_number_with_thousands_of_digits_in_a_tar_header_is_refused(tmp_path: Path) -> None:
    for digits, is_read in ((900, True), (1_000, False)):
        member = tarfile.TarInfo("a.png")
        member.pax_headers = {"comment": "1" * digits}
        data = member.tobuf(tarfile.PAX_FORMAT) + pack_tar({"a.xml": suite("a")})
        if is_read:
            assert read_archive(data, tmp_path).summary.results == 1
        else:
            assert "a number with 1,000 digits" in error_of(data, tmp_path).message


def test_gzip_file_of_many_small_parts_is_refused_and_one_of_blocks_is_read(tmp_path: Path) -> None:
    report = suite("a") + b" " * 2_000_000
    blocks = b"".join(gzip.compress(report[start : start + 1_024]) for start in range(0, len(report), 1_024))
    assert read_archive(blocks + bytes(100), tmp_path).summary.results == 1
    many = gzip.compress(report) + gzip.compress(b"", mtime=0) * 4_000
    assert "thousands of parts" in error_of(many, tmp_path).message
    assert (
        "b.xml.gz: the compressed data is invalid: it has" in error_of(pack_zip({"b.xml.gz": many}), tmp_path).message
    )


def test_inner_one_of_two_compressions_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.reports.streams.compression._MAX_INNER_BYTES", 10_000)
    frames = zstandard.compress(b"") * 10_000
    with pytest.raises(ReportError, match="the compressed file in the body is larger than 10000 bytes"):
        read_archive(gzip.compress(frames), tmp_path, encoding="gzip")


@pytest.mark.parametrize("pack", PACKERS)
def test_damaged_archive_is_malformed_or_complete(pack: Callable[[Files], bytes], tmp_path: Path) -> None:
    data = pack({f"{number}/é.xml": suite(f"s{number}") for number in range(3)})
    chosen = random.Random(1)
    for _ in range(150):
        damaged = bytearray(data)
        for _ in range(chosen.choice((1, 3, 10))):
            damaged[chosen.randrange(len(data))] = chosen.randrange(256)
        with suppress(ReportError):
            read = read_archive(bytes(damaged), tmp_path)
            assert read.summary.results == 3 or pack not in (pack_zip, pack_gzip)  # the others have no checksums


@pytest.mark.parametrize("pack", PACKERS)
def test_incomplete_archive_is_never_read(pack: Callable[[Files], bytes], tmp_path: Path) -> None:
    data = pack({"a.xml": suite("a"), "b.xml": suite("b")})
    end = 2_600 if pack is pack_tar else len(data) - 1  # TAR archives end with zeros
    for length in range(1, end, 97 if pack is pack_tar else 11):
        assert error_of(data[:length], tmp_path).reason in ("malformed_report", "unsupported_format")


async def test_archive_of_many_files_is_parsed_in_one_process(tmp_path: Path) -> None:
    data = pack_zip({f"TEST-{number}.xml": suite(f"s{number}") for number in range(500)})
    (tmp_path / "report").write_bytes(data)
    parser, others = ParserProcess(), set(active_children())
    try:
        files = [ReportFile(tmp_path / "report", tmp_path / "results", None, None, None)]
        read = await parser.read(files, ReportLimits())
        started = set(active_children()) - others
    finally:
        parser.stop()
    assert (len(read.files), read.summary.results, len(started)) == (500, 500, 1)
