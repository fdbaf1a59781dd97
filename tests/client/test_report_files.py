"""The files that `report` selects and sends."""

import gzip
import os
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.client import report_files
from service.client.__main__ import client
from service.client.http import ClientError
from service.client.report_files import pack_files, select_files
from service.reports.archives.members import MAX_MEMBERS
from service.reports.format_table import REPORT_FORMATS
from tests.reports.archive_files import pack_zip, suite

GO = b'{"Action":"pass","Package":"shop","Test":"TestPays"}\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, content: bytes) -> Path:
    path = Path(name)
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(content)
    return path


def test_folder_contains_the_reports_that_their_content_shows(folder: Path) -> None:
    for name in ("out/z.xml", "out/a/TEST-a.xml", "out/a/.plain", "out/.git/a.xml", "out/node_modules/a/a.xml"):
        write(name, suite("a"))
    write("out/events.log", GO)
    write("out/b.xml.gz", gzip.compress(suite("b")))
    write("out/page.html", b"<html>" + b" " * 5_000 + suite("a"))
    write("out/logo.svg", b"<svg/>")
    write("out/trace.zip", pack_zip({"a.xml": suite("a")}))
    write("out/junit.xml.zst", b"(\xb5/\xfd")
    write("out/cache.json.zst", b"(\xb5/\xfd")
    assert [path.as_posix() for path in select_files(["out", "out/z.xml"])] == [
        "out/a/.plain", "out/a/TEST-a.xml", "out/b.xml.gz", "out/events.log", "out/junit.xml.zst", "out/z.xml",
    ]  # fmt: skip


def test_folder_without_a_report_is_an_error(folder: Path) -> None:
    write("out/a.css", b"body {}")
    with pytest.raises(ClientError, match="out contains no test report"):
        select_files(["out"])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.xml", b""),
        ("a.json", b"\n"),
        ("TEST-a.xml", b"Error"),
        ("TestResults/a.trx", b"Error"),
        ("a.xml.gz", gzip.compress(b"", mtime=0)),
    ],
)
def test_incomplete_report_in_a_folder_is_an_error(folder: Path, name: str, content: bytes) -> None:
    write("out/ok.xml", suite("a"))
    write(f"out/{name}", content)
    with pytest.raises(ClientError, match=f"out/{name} is empty, incomplete, or damaged"):
        select_files(["out"])


def test_files_have_paths_below_their_common_folder_and_archives_are_unmodified(folder: Path) -> None:
    files = [
        write("out/unit/a.xml", suite("a")), write("out/b.zip", pack_zip({"a.xml": suite("a")})), write("out/c", GO)
    ]  # fmt: skip
    sent = pack_files(files, {}, folder)
    assert [(each.name, each.content_type) for each in sent] == [
        ("unit/a.xml.gz", "application/xml"), ("b.zip", "application/zip"), ("c.gz", "application/octet-stream"),
    ]  # fmt: skip
    assert sent[1].path == files[1]
    assert gzip.decompress(sent[0].path.read_bytes()) == suite("a")


def test_same_files_are_packed_to_the_same_bytes(folder: Path) -> None:
    files = [write(f"out/{number}.xml", suite(f"{number}")) for number in range(1_001)]
    archive = write("out/a.zip", pack_zip({"a.xml": suite("a")}))
    packed = []
    for number in range(2):
        for file in files:
            os.utime(file, (number, number))
        (folder / str(number)).mkdir()
        [sent, unmodified] = pack_files([*files, archive], {}, folder / str(number))
        packed.append(sent.path.read_bytes())
    assert (sent.name, sent.content_type, unmodified.path) == ("reports.zip", "application/zip", archive)
    assert packed[0] == packed[1]
    with zipfile.ZipFile(sent.path) as opened:
        assert opened.namelist() == [f"{number}.xml" for number in range(1_001)]
        assert opened.read("7.xml") == suite("7")


def test_file_that_can_not_be_read_is_not_in_the_archive(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.client.report_files._MAX_PARTS", 3)
    files = [write(f"out/{number}.xml", suite(f"{number}")) for number in range(3)]
    others = [write("out/nunit.xml", b"<test-results/>"), write("out/notes.txt", b"passed")]
    sent = pack_files([*files, *others], {}, folder)
    assert [each.name for each in sent] == ["reports.zip", "nunit.xml.gz", "notes.txt.gz"]


def test_archives_have_the_files_of_one_path_prefix(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.client.report_files._MAX_PARTS", 3)
    files = [write(f"{name}/junit.xml", suite(name)) for name in ("a", "b", "c", "d")]
    sent = pack_files(files, {files[1]: "b", files[3]: "b"}, folder)
    assert [(each.name, each.path_prefix) for each in sent] == [("reports.zip", ""), ("reports1.zip", "b")]
    assert [zipfile.ZipFile(each.path).namelist() for each in sent] == [
        ["a/junit.xml", "c/junit.xml"], ["b/junit.xml", "d/junit.xml"],
    ]  # fmt: skip


def test_limit_of_files_is_that_of_the_server() -> None:
    assert report_files._MAX_FILES == MAX_MEMBERS


def test_number_of_files_is_limited(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.client.report_files._MAX_FILES", 2)
    for number in range(3):
        write(f"out/{number}.xml", suite("a"))
    with pytest.raises(ClientError, match="an upload has at most 2 files, but 3 files match"):
        select_files(["out"])


def test_help_lists_the_usual_paths_of_each_tool() -> None:
    lines = CliRunner().invoke(client, ["report", "--help"], terminal_width=200).output.splitlines()
    usual = [pair for known in REPORT_FORMATS for pair in known.paths]
    assert {known.name for known in REPORT_FORMATS if not known.paths} == {"json", "ndjson"}
    for tool, path in usual:
        assert any(line.strip().startswith(tool) and path in line for line in lines)
    start = lines.index("  Usual paths:") + 1
    listed = lines[start : start + len({tool for tool, _ in usual})]
    assert {line.rindex("  ") for line in listed} == {listed[0].rindex("  ")}


def test_every_file_of_a_folder_that_is_not_sent_is_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("out/a.xml", suite("a"))
    write("out/output.xml", b"<html></html>")
    write("out/coverage.xml", b"<coverage/>")
    write("out/style.css", b"body {}")
    write("out/trace.zip", pack_zip({"b.xml": suite("b")}))
    write("out/cache.json.zst", b"(\xb5/\xfd")
    write("out/.git/b.xml", suite("b"))
    write("out/node_modules/b.xml", suite("b"))
    write("elsewhere/b.xml", suite("b"))
    Path("out/linked").symlink_to("../elsewhere", target_is_directory=True)
    Path("out/broken").symlink_to("nowhere")
    for number in range(30):
        write(f"out/shots/{number}.png", b"\x89PNG")
    assert [path.as_posix() for path in select_files(["out"])] == ["out/a.xml"]
    lines = sorted(capsys.readouterr().err.splitlines())
    assert [line.removeprefix("skipped: ").partition(": ")[0] for line in lines] == [
        "out/.git", "out/broken", "out/cache.json.zst", "out/coverage.xml", "out/linked", "out/node_modules",
        "out/output.xml", "out/shots/*.png (30 files)", "out/style.css", "out/trace.zip",
    ]  # fmt: skip
    assert all(": " in line.removeprefix("skipped: ") for line in lines)
    others = [
        ".git",
        "node_modules",
        "linked",
        "broken",
        "*.zst",
        "coverage.xml",
        "output.xml",
        "shots",
        "*.css",
        "*.zip",
    ]
    select_files(["out"], others)
    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert all(line.endswith(": excluded by --ignore") for line in lines)


def test_pattern_matches_no_folder_above_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = tmp_path / "legacy"
    checkout.mkdir()
    monkeypatch.chdir(checkout)
    write("out/a.xml", suite("a"))
    write("out/legacy/b.xml", suite("b"))
    assert select_files([str(checkout / "out")], ["legacy"]) == [checkout / "out/a.xml"]


def test_unreadable_report_of_a_folder_is_sent_with_a_warning(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("out/a.xml", suite("a"))
    write("out/b[1].xml", b"<test-results/>")
    assert len(select_files(["out"])) == 2
    assert capsys.readouterr().err == (
        "warning: out/b[1].xml: XML reports of NUnit 2, such as those of Pester, can't be read. Write the format of"
        " NUnit 3, `nunit3-console --result=TestResult.xml Shop.Tests.dll`, or TRX, `dotnet test --logger trx`. Set"
        " `TestResult.OutputFormat` of Pester to `JUnitXml`. Its failures are missing, so that gates block the run. To"
        " leave the file out on purpose, add --ignore 'out/b[[]1].xml'\n"
    )
    assert [path.name for path in select_files(["out"], ["out/b[[]1].xml"])] == ["a.xml"]
    with pytest.raises(ClientError, match=r"out contains no test report\. out/b.1.\.xml: XML reports of NUnit 2"):
        select_files(["out"], ["a.xml"])


@pytest.mark.parametrize(
    "pattern",
    ["*.log", "b.log", "legacy", "legacy/", "legacy/*", "./out/legacy/b.log", "**/b.log", "out/**/b.log", "l*y"],
)
def test_pattern_excludes_files_of_folders_and_named_files(pattern: str, folder: Path) -> None:
    write("out/a.xml", suite("a"))
    ignored = write("out/legacy/b.log", suite("b"))
    assert select_files(["out", str(ignored)], [pattern]) == [Path("out/a.xml")]


@pytest.mark.parametrize("pattern", ["b", "og", "out/b.log", "ut/legacy", "LEGACY", "xlegacy"])
def test_pattern_that_matches_another_file_excludes_nothing(pattern: str, folder: Path) -> None:
    write("out/legacy/b.log", suite("b"))
    assert select_files(["out"], [pattern]) == [Path("out/legacy/b.log")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cart.test.js", b"test('pays', () => {})\n"),
        ("cart.test.js.gz", gzip.compress(b"test('pays', () => {})\n")),
        ("screenshot.png", b"\x89PNG\r\n\x1a\n"),
        ("build.log", b"BUILD FAILED\n"),
    ],
    ids=lambda value: value if isinstance(value, str) else "content",
)
def test_named_file_that_is_not_a_report_is_an_error_or_a_warning_next_to_reports(
    folder: Path, name: str, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    write("a.xml", suite("a"))
    write(name, content)
    for pattern in (name, f"{name[:-2]}*"):
        with pytest.raises(ClientError, match=rf"{name} can't be uploaded: not a report\. `report --help` lists"):
            select_files([pattern])
        assert select_files(["a.xml", pattern]) == [Path("a.xml"), Path(name)]
        assert f"warning: {name}: not a report. Its failures are missing, so that gates " in capsys.readouterr().err
    assert select_files(["a.xml", name], [name]) == [Path("a.xml")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("report", suite("a")),
        ("report.gz", gzip.compress(suite("a"))),
        ("report.txt", GO),
        ("results", pack_zip({"a.xml": suite("a")})),
        ("results.zst", b"\x28\xb5\x2f\xfd compressed"),
        ("broken.xml", b"not XML"),
        ("broken.gz", b"\x1f\x8b"),
    ],
    ids=lambda value: value if isinstance(value, str) else "content",
)
def test_named_file_that_can_be_a_report_is_sent(
    folder: Path, name: str, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    write(name, content)
    assert select_files([name]) == [Path(name)]
    assert capsys.readouterr().err == ""


def test_file_and_folder_that_can_not_be_read_are_errors(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("out/a.xml", suite("a"))
    Path("out/b.xml").symlink_to("nowhere.xml")
    with pytest.raises(ClientError, match=r"out/b\.xml is a broken link"):
        select_files(["out"])
    assert select_files(["out"], ["b.xml"]) == [Path("out/a.xml")]
    Path("out/b.xml").unlink()
    with pytest.raises(ClientError, match="--ignore: excludes all files"):
        select_files(["out/a.xml"], ["*"])

    def scan(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", scan)
    with pytest.raises(ClientError, match="out can't be read: Permission denied"):
        select_files(["out"])
