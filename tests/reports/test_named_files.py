"""Files of archives that reports of the same archive name: they become files of the results."""

import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.reports.archives import files as archives_files
from service.reports.conversion import output
from service.reports.conversion.errors import ReportError
from service.reports.conversion.uploads import ReadUpload, ReportFile, open_results, read_results, read_upload
from service.reports.model import ReportLimits
from tests.reports.archive_files import PACKERS, Files, pack_tar, pack_zip, read_archive, suite

PNG = b"\x89PNG\r\n\x1a\n"
UUID = "20c9a897-da90-4a22-a9b3-1e2a23ba515"


def junit(*uris: str) -> bytes:
    cases = (
        f'<testcase name="pays {number}"><failure/><system-out>503 [[ATTACHMENT|{uri}]]</system-out></testcase>'
        for number, uri in enumerate(uris)
    )
    return f'<testsuite name="shop">{"".join(cases)}</testsuite>'.encode()


def allure(number: int, *sources: str, status: str = "passed") -> bytes:
    attachments = [{"name": "page", "source": source, "type": "image/png"} for source in sources]
    document = {"uuid": f"u{number}", "historyId": "h", "name": "pays", "status": status, "start": number}
    labels = [{"name": "framework", "value": "playwright"}]
    return orjson.dumps({**document, "labels": labels, "attachments": attachments})


def results_of(read: ReadUpload) -> list[Any]:
    with open_results(read.files) as results:
        return [each for file in read.files for chunk in read_results(results, file) for each in orjson.loads(chunk)]


def stored_in(read: ReadUpload) -> list[dict[str, bytes]]:
    """Return the names and the bytes of the files of each result."""
    embedded = read.embedded.read_bytes() if read.embedded else b""
    return [
        {
            part["name"]: embedded[part["offset"] : part["offset"] + part["size"]]
            for part in result.get("output", [])
            if "kind" in part
        }
        for result in results_of(read)
    ]


def references_in(read: ReadUpload) -> list[list[str]]:
    return [[artifact["uri"] for artifact in result.get("artifacts", [])] for result in results_of(read)]


@pytest.mark.parametrize("order", [1, -1], ids=("report first", "report last"))
@pytest.mark.parametrize("pack", PACKERS)
def test_file_belongs_to_the_result_that_names_it(pack: Callable[[Files], bytes], order: int, tmp_path: Path) -> None:
    files = {"junit.xml": junit("shots/a.png", "logs/b"), "shots/a.png": PNG, "logs/b": b"b" * 400_000, "c.css": b"c"}
    read = read_archive(pack(dict(list(files.items())[::order])), tmp_path)

    assert stored_in(read) == [{"a.png": PNG}, {"b": b"b" * 400_000}]
    assert references_in(read) == [[], []]
    screenshot, text = results_of(read)[0]["output"]
    assert (screenshot["kind"], screenshot["content_type"]) == ("screenshot", "image/png")
    assert (text["name"], "kind" in text) == ("system-out.txt", False)
    assert read.summary.notes == ("ignored: 1 file that isn't a report: c.css",)
    assert {path.name for path in tmp_path.iterdir()} == {"embedded", "output", "results-0"}


@pytest.mark.parametrize(
    ("report", "uri", "file"),
    [
        ("junit.xml", "shot.png", "shot.png"),
        ("junit.xml", r"shots\shot.png", "shots/shot.png"),
        ("unit/junit.xml", "shot.png", "unit/shot.png"),
        ("unit/junit.xml", "../e2e/shot.png", "e2e/shot.png"),
        ("unit/junit.xml", "../../e2e/shot.png", "e2e/shot.png"),
        ("unit/junit.xml", "shots/shot.png", "shots/shot.png"),
        ("ci/unit/junit.xml", "/builds/shop/shots/shot.png", "ci/shots/shot.png"),
        ("junit.xml", r"C:\shop\shots\shot.png", "shots/shot.png"),
        ("junit.xml", "/builds/shop/shots/shot.png", "shot.png"),
    ],
)
def test_path_means_the_file_in_the_archive(report: str, uri: str, file: str, tmp_path: Path) -> None:
    read = read_archive(pack_zip({report: junit(uri), file: PNG, f"{'x/' * 9}shot.png": b"other"}), tmp_path)
    assert stored_in(read) == [{"shot.png": PNG}]


@pytest.mark.parametrize(
    ("report", "uri", "file"),
    [
        ("junit.xml", "https://ci.example.com/shot.png", "shot.png"),
        ("junit.xml", "file:///shot.png", "shot.png"),
        ("junit.xml", "shot.png", "unit/shot.png"),
        ("junit.xml", "shots/shot.png", "shots/unit/shot.png"),
        ("junit.xml", "shot.png", "a.shot.png"),
        ("junit.xml", f"{'x/' * 40}shot.png", f"{'x/' * 40}shot.png"),
        ("junit.xml", f"/{'x' * 1_024}/shot.png", "shot.png"),
        (f"{'x/' * 40}junit.xml", "shot.png", "shot.png"),
    ],
)
def test_other_path_stays_a_reference(report: str, uri: str, file: str, tmp_path: Path) -> None:
    read = read_archive(pack_zip({report: junit(uri), file: PNG}), tmp_path)
    assert references_in(read)[0]
    assert stored_in(read) == [{}]


def test_nearest_and_longest_path_has_priority(tmp_path: Path) -> None:
    files = {"shot.png": b"1", "a/shot.png": b"2", "a/shots/shot.png": b"3", "a/b/shot.png": b"4"}
    reports = {"a/b/j.xml": junit("../shot.png", "/builds/shots/shot.png"), "j.xml": junit("shot.png")}
    assert stored_in(read_archive(pack_zip({**files, **reports}), tmp_path)) == [
        {"shot.png": b"2"}, {"shot.png": b"3"}, {"shot.png": b"1"},
    ]  # fmt: skip


def test_file_that_several_paths_can_mean_belongs_only_to_its_own_path(tmp_path: Path) -> None:
    reports = {"a.xml": junit("/builds/1/shot.png", "/builds/2/shot.png", "log.txt", "/builds/log.txt")}
    read = read_archive(pack_zip({**reports, "shot.png": PNG, "log.txt": b"log"}), tmp_path)
    assert stored_in(read) == [{}, {}, {"log.txt": b"log"}, {}]
    [note] = read.summary.notes
    assert note.startswith("ignored: shot.png: reports name several files whose paths end like this.")


def test_report_outside_of_the_archive_names_no_file_in_it(tmp_path: Path) -> None:
    data = {
        "a.zip": pack_zip({"a.xml": junit("shot.png"), "shot.png": b"a"}),
        "b.zip": pack_zip({"b.xml": junit("../c.zip/shot.png", "log.txt"), "log.txt": b"b"}),
        "c.zip": pack_zip({"c.xml": suite("c"), "shot.png": b"c", "log.txt": b"c"}),
        "d.xml": junit("shot.png", "c.zip/log.txt"),
    }
    files = [
        ReportFile(
            tmp_path / name, tmp_path / f"results-{name}", name, "application/xml" if "xml" in name else None, None
        )
        for name in data
    ]
    for name, content in data.items():
        (tmp_path / name).write_bytes(content)
    read = read_upload(files, ReportLimits())
    assert stored_in(read) == [{"shot.png": b"a"}, {}, {"log.txt": b"b"}, {}, {}, {}]
    assert read.summary.notes == ("c.zip: ignored: 2 files that aren't reports: shot.png, log.txt",)


def test_file_of_several_results_is_written_once(tmp_path: Path) -> None:
    native = b'{"results": [{"name": "a", "artifacts": [{"name": "page", "kind": "trace", "uri": "../a.png"}]}]}'
    read = read_archive(pack_zip({"a.xml": junit("a.png", "a.png"), "b/b.json": native, "a.png": PNG}), tmp_path)
    assert stored_in(read) == [{"a.png": PNG}, {"a.png": PNG}, {"page.png": PNG}]
    assert results_of(read)[2]["output"][0]["kind"] == "trace"
    assert (tmp_path / "embedded").read_bytes() == PNG


def test_archive_in_the_archive_can_be_a_trace(tmp_path: Path) -> None:
    trace = pack_zip({"events": b"1"})
    read = read_archive(pack_zip({"a.xml": junit("t/trace.zip"), "t/trace.zip": trace}), tmp_path)
    assert (stored_in(read), read.summary.notes) == ([{"trace.zip": trace}], ())
    assert results_of(read)[0]["output"][0]["kind"] == "trace"


def test_files_of_allure_belong_to_their_attempts(tmp_path: Path) -> None:
    files = {
        "r/1-result.json": allure(1, f"{UUID}1-attachment.png", status="failed"),
        "r/2-result.json": allure(2, f"{UUID}2-attachment.json"),
        f"r/{UUID}1-attachment.png": PNG,
        f"r/{UUID}2-attachment.json": b'{"results": []}',
        f"r/{UUID}3-attachment.json": b"",
    }
    read = read_archive(pack_zip(files), tmp_path)
    assert stored_in(read) == [{"attempt-1-page.png": PNG, "page.json": b'{"results": []}'}]
    assert read.summary.notes == (f"ignored: 1 file that isn't a report: r/{UUID}3-attachment.json",)


def test_file_that_exceeds_a_limit_stays_a_reference_with_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (output, archives_files):
        monkeypatch.setattr(module, "MAX_EMBEDDED_BYTES", 10)
        monkeypatch.setattr(module, "MAX_ALL_EMBEDDED_BYTES", 15)
    files = {"a.bin": b"a" * 11, "b.bin": b"b" * 10, "c.bin": b"c" * 6, "d.bin": b"d" * 5, "e.bin": b""}
    read = read_archive(pack_zip({"a.xml": junit(*files, "a.bin"), **files}), tmp_path)
    assert stored_in(read) == [{}, {"b.bin": b"b" * 10}, {}, {"d.bin": b"d" * 5}, {}, {}]
    [note] = read.summary.notes
    assert note.startswith("embedded files: 2 were not stored;")


def test_only_files_within_the_limits_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives_files, "MAX_EMBEDDED_BYTES", 40_000)
    monkeypatch.setattr(archives_files, "MAX_ALL_EMBEDDED_BYTES", 70_000)
    data = pack_zip({"a.xml": suite("a"), **{f"{size}.bin": b"a" * size for size in (40_000, 30_001, 40_001, 30_000)}})
    read_archive(data, tmp_path, limits=ReportLimits(max_unpacked_bytes=110_000))


@pytest.mark.parametrize("pack", [pack_zip, pack_tar])
def test_bytes_of_the_files_count(pack: Callable[[Files], bytes], tmp_path: Path) -> None:
    data = pack({"a.xml": suite("a"), "a.bin": b"a" * 100_000})
    with pytest.raises(ReportError, match="larger than 50000 bytes"):
        read_archive(data, tmp_path, limits=ReportLimits(max_unpacked_bytes=50_000))


def test_link_is_no_file_of_a_result(tmp_path: Path) -> None:
    link = tarfile.TarInfo("a.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    read = read_archive(pack_tar({"a.xml": junit("a.png")}, link), tmp_path)
    assert (stored_in(read), read.summary.notes) == ([{}], ("ignored: 1 file that isn't a report: a.png",))


def test_file_ends_where_its_content_ends_whatever_the_archive_states(tmp_path: Path) -> None:
    data = bytearray(pack_zip({"a.bin": b"a" * 10, "b.bin": b"b" * 10, "a.xml": junit("a.bin", "b.bin")}))
    size_in_directory = data.index(b"PK\x01\x02") + 24
    data[size_in_directory] = 15
    assert stored_in(read_archive(bytes(data), tmp_path)) == [{"a.bin": b"a" * 10}, {"b.bin": b"b" * 10}]


def test_last_of_several_files_with_the_same_path_is_used(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.xml", junit("a.png"))
        archive.writestr("a.png", b"1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.png", b"2")
    read = read_archive((tmp_path / "a.zip").read_bytes(), tmp_path)
    assert stored_in(read) == [{"a.png": b"2"}]


@pytest.mark.parametrize(
    "artifact",
    [
        7,
        {},
        {"name": "a"},
        {"name": 7, "uri": "a.png"},
        {"name": "a", "uri": ["a.png"]},
        {"name": "a", "uri": "a.png", "kind": "x"},
    ],
)
def test_invalid_artifact_of_a_native_result_stays(artifact: Mapping[str, Any] | int, tmp_path: Path) -> None:
    valid = {"name": "page", "uri": "a.png", "content_type": 7}
    report = orjson.dumps(
        {"results": [7, {"name": "a", "artifacts": [artifact, valid]}, {"name": "b", "artifacts": 7}]}
    )
    read = read_archive(pack_zip({"results.json": report, "a.png": PNG}), tmp_path)
    assert results_of(read)[1]["artifacts"] == [artifact]
    assert [part["name"] for part in results_of(read)[1]["output"]] == ["page.png"]
