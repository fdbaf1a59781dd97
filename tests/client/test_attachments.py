"""The report command uploads the files that reports name, and those of --attach."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from click.testing import CliRunner, Result

from service.client import attachments as uploads
from service.client.__main__ import client
from service.client.attachments import AttachmentOptions, names_files, select
from service.client.http import TemporaryFailure
from service.client.report import STORED, report
from tests.report_api import Reports, serving_reports_with_ingester

DATA = Path("tests/data/reports").absolute()
PLAYWRIGHT = DATA / "playwright.json"
FOLDER = "/builds/shop/"  # of the checkout in this report
PNG = b"\x89PNG\r\n\x1a\n"
SHOP = [("project_id", "shop")]


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports_with_ingester(database_url, tmp_path) as opened:
        await opened.api.become("uploader")  # as a CI job
        yield opened


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, which is the root of a repository."""
    folder = tmp_path / "checkout"
    (folder / ".git").mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def write(path: Path, content: bytes | str = PNG) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_report_that_was_deleted_after_its_upload_can_name_files(tmp_path: Path) -> None:
    assert names_files(tmp_path / "deleted.xml")
    assert names_files(write(tmp_path / "emptied.xml", ""))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"artifacts": [{"uri": "shots/pay.png"}]}', True),
        ('[{"uri": "features/cart.feature"}]', False),
        ('[{"uri" : "classpath:cart.feature", "name": "uri"}, {"uri": "cart.png"}]', True),
        ('{"attachments": []}', False),
        ('{"attachments": [{"path": "a.png"}]}', True),
    ],
)
def test_path_of_a_feature_is_no_reference_to_a_file(content: str, expected: bool, tmp_path: Path) -> None:
    assert names_files(write(tmp_path / "report.json", content)) is expected


def junit(path: Path, **files: str) -> Path:
    """Write a report whose cases name one file each."""
    cases = "".join(
        f"<testcase classname='shop' name='{name}'><failure/><system-out>[[ATTACHMENT|{file}]]</system-out></testcase>"
        for name, file in files.items()
    )
    return write(path, f"<testsuite name='shop'>{cases}</testsuite>")


async def upload(reports: Reports, *files: Path, fields: Any = SHOP, run_id: str = "run_1", **options: Any) -> int:
    url, arguments = str(reports.api.http.make_url("/")), [str(file) for file in files]
    attachments = AttachmentOptions(**options)
    return await asyncio.to_thread(
        report, url, reports.api.key, run_id, arguments, fields, wait_s=60, attachments=attachments
    )


async def stored(reports: Reports, run_id: str = "run_1") -> dict[tuple[str, str], bytes | None]:
    """Return the bytes of the files of each result by its name and theirs, and None for a missing file."""
    found: dict[tuple[str, str], bytes | None] = {}
    for result in (await reports.api.get("/v1/results", {"run_id": run_id, "limit": "1000"}))["data"]:
        variant = "".join(f" {value}" for value in result["variant"].values())
        for artifact in (await reports.api.get(f"/v1/results/{result['id']}/artifacts"))["data"]:
            if artifact["receipt_id"]:
                found[result["name"] + variant, artifact["name"]] = await content(reports, artifact)
    return found


async def of_run(reports: Reports) -> dict[str, bytes | None]:
    listed = (await reports.api.get("/v1/runs/run_1/artifacts"))["data"]
    return {artifact["name"]: await content(reports, artifact) for artifact in listed if artifact["receipt_id"]}


async def content(reports: Reports, artifact: Any) -> bytes | None:
    if artifact["url"] is None:
        return None
    return await (await reports.api.send("GET", f"/v1/artifacts/{artifact['id']}")).read()


async def test_each_file_of_playwright_belongs_to_its_result_and_attempt(
    reports: Reports, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = [
        attachment["path"].removeprefix(FOLDER)
        for suite in json.loads(PLAYWRIGHT.read_bytes())["suites"]
        for spec in all_specs(suite)
        for test in spec["tests"]
        for attempt in test["results"]
        for attachment in attempt["attachments"]
        if "path" in attachment
    ]
    for path in named:
        write(checkout / path, path)

    assert await upload(reports, PLAYWRIGHT) == STORED

    found = await stored(reports)
    assert len(found) == len(set(named)) == 19
    desktop = "test-results/cart-cart-writes-an-attachment-desktop"
    receipts = {name: bytes_.decode() for (case, name), bytes_ in found.items() if "receipt" in name and bytes_}
    assert set(receipts) == {"attempt-1-receipt.txt", "receipt.txt"}
    assert found["writes an attachment desktop", "receipt.txt"].startswith(f"{desktop}-retry1/".encode())  # type: ignore[union-attr]
    assert found["writes an attachment desktop", "attempt-1-receipt.txt"].startswith(f"{desktop}/".encode())  # type: ignore[union-attr]
    assert found["writes an attachment mobile", "receipt.txt"].startswith(desktop[:-7].encode() + b"mobile")  # type: ignore[union-attr]
    assert "attachments: 19 of 19 files uploaded" in capsys.readouterr().out


def all_specs(suite: Any) -> list[Any]:
    return [*suite.get("specs", []), *(spec for child in suite.get("suites", []) for spec in all_specs(child))]


async def test_files_of_trx_are_in_its_folder_of_results(reports: Reports, checkout: Path) -> None:
    file = write(checkout / "TestResults/a.trx", (DATA / "mstest.trx").read_bytes())
    write(file.parent / "ci_2026-05-20/In/e0000000-0000-4000-8000-000000000002/build-7/screen.png")
    await upload(reports, file)
    assert list((await stored(reports)).values()) == [PNG]


async def test_files_of_allure_are_in_the_folder_of_its_results(reports: Reports, checkout: Path) -> None:
    folder = copytree(DATA / "allure" / "mocha", checkout / "allure-results")

    assert await upload(reports, *sorted(folder.glob("*.json"))) == STORED

    assert await stored(reports) == dict.fromkeys(
        [
            ("throws an error", "page.txt"),
            ("passes in the second attempt", "attempt-1-page.txt"),
            ("passes in the second attempt", "page.txt"),
            ("adds items[currency=EUR, token=******]", "page.txt"),
            ("is wrong", "page.txt"),
        ],
        b"opened",
    )


async def test_results_with_files_of_the_same_name_keep_their_own(reports: Reports, checkout: Path) -> None:
    for folder in ("pay", "ship"):
        write(checkout / f"out/{folder}/shot.png", folder)
    await upload(reports, junit(checkout / "junit.xml", pays="out/pay/shot.png", ships="out/ship/shot.png"))
    assert await stored(reports) == {("pays", "shot.png"): b"pay", ("ships", "shot.png"): b"ship"}


@pytest.mark.parametrize("order", [("1", "2"), ("2", "1")])
async def test_attempts_of_a_job_keep_their_own_files(
    reports: Reports, checkout: Path, order: tuple[str, str]
) -> None:  # fmt: skip
    for attempt in order:
        write(checkout / "shot.png", attempt)
        fields = [*SHOP, ("part", "e2e"), ("attempt", attempt)]
        await upload(reports, junit(checkout / "junit.xml", pays="shot.png"), fields=fields)
    page = await reports.api.get("/v1/results")
    listed = (await reports.api.get(f"/v1/results/{page['data'][0]['id']}/artifacts"))["data"]
    files = [(each["name"], await content(reports, each)) for each in listed if each["receipt_id"]]
    assert sorted(files) == [("shot.png", b"1"), ("shot.png", b"2")]
    assert len({each["receipt_id"] for each in listed if each["receipt_id"]}) == 2


async def test_correction_replaces_the_files_of_the_corrected_report(reports: Reports, checkout: Path) -> None:
    for number in (1, 2):
        write(checkout / "shot.png", str(number))
        write(checkout / "trace.zip", "trace")
        cases = {"pays": "shot.png"} if number == 2 else {"pays": "shot.png", "ships": "trace.zip"}
        await upload(reports, junit(checkout / "junit.xml", **cases))
        await reports.api.store.pool.execute("UPDATE results SET event_time_offset_s = event_time_offset_s - 60")
    assert await stored(reports) == {("pays", "shot.png"): b"2", ("ships", "trace.zip"): b"trace"}
    assert await reports.api.store.pool.fetchval("SELECT count(*) FROM file_deletions") == 1


async def test_jobs_with_the_same_paths_upload_only_their_own_files(reports: Reports, checkout: Path) -> None:
    for system in ("linux", "mac"):
        fields = [*SHOP, ("part", "e2e"), ("variant", f"os:{system}")]
        file = junit(checkout / "junit.xml", pays="shot.png")
        if system == "mac":
            write(checkout / "shot.png", system)
        await upload(reports, file, fields=fields)
    assert await stored(reports) == {("pays linux", "shot.png"): None, ("pays mac", "shot.png"): b"mac"}


async def test_repeated_command_uploads_only_what_is_missing(
    reports: Reports, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = junit(checkout / "junit.xml", pays="pay.png", ships="ship.png")
    write(checkout / "pay.png")
    assert await upload(reports, file) == STORED
    output = capsys.readouterr()
    assert "attachments: 1 of 1 files uploaded" in output.out
    assert output.err == "warning: attachments: ship.png: not found\n"
    write(checkout / "ship.png")
    await upload(reports, file)
    assert "attachments: 1 of 1 files uploaded" in capsys.readouterr().out
    await upload(reports, file)
    assert "attachments" not in "".join(capsys.readouterr())
    assert set((await stored(reports)).values()) == {PNG}


async def test_upload_continues_after_a_lost_connection(
    reports: Reports, checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"case{number}": f"{number}.png" for number in range(12)}
    for name in files.values():
        write(checkout / name, name)
    file = junit(checkout / "junit.xml", **files)
    sent: list[str] = []

    def put(upload: Any, file: Any) -> None:
        sent.append(file.name)
        if len(sent) > 5:
            raise TemporaryFailure("the server doesn't respond")
        original(upload, file)

    original = uploads._Upload._put_bytes
    monkeypatch.setattr(uploads._Upload, "_put_bytes", put)
    assert await upload(reports, file) == STORED
    assert "the server doesn't respond. Run the same command again to upload the rest" in capsys.readouterr().err
    assert len(sent) < 12
    assert list((await stored(reports)).values()).count(None) == 7
    monkeypatch.setattr(uploads._Upload, "_put_bytes", original)
    await upload(reports, file)
    assert await stored(reports) == {(case, name): name.encode() for case, name in files.items()}


async def test_upload_continues_after_a_killed_process(reports: Reports, checkout: Path) -> None:
    files = {f"case{number}": f"{number}.png" for number in range(30)}
    for name in files.values():
        write(checkout / name, name)
    file = junit(checkout / "junit.xml", **files)
    options = ["--url", str(reports.api.http.make_url("/")), "--run-id", "run_1", "--project", "shop", str(file)]
    variables = os.environ | {"RESULTS_API_KEY": reports.api.key}
    command = [sys.executable, "-m", "service.client", "report", *options]
    process = await asyncio.create_subprocess_exec(*command, env=variables)
    first = "SELECT count(*) FROM artifacts WHERE uri IS NOT NULL AND size > 0"
    async with asyncio.timeout(60):
        while not await reports.api.store.pool.fetchval(first):
            pass
    process.kill()
    await process.wait()
    await upload(reports, file)
    assert await stored(reports) == {(case, name): name.encode() for case, name in files.items()}


async def test_report_cannot_select_files_outside_of_the_checkout(
    reports: Reports, checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = write(tmp_path / "secret.txt", "secret")
    write(checkout / ".git/config", "secret")
    write(checkout / ".env", "secret")
    write(checkout / "build/gha-creds-1.json", "secret")
    (checkout / "link.png").symlink_to(secret)
    (checkout / "folder").symlink_to(tmp_path)
    (checkout / "loop.png").symlink_to("loop.png")
    paths = [
        str(secret), "../secret.txt", "out/../../secret.txt", secret.as_uri(), "link.png", "folder/secret.txt",
        "loop.png",
        ".git/config", ".env", "build/gha-creds-1.json", "/etc/passwd", "~/.ssh/id_rsa", "https://h/.env", "build", "",
        "/dev/zero", "/proc/self/environ", "//etc/passwd", "..\\secret.txt", "file:///etc/passwd", "a" * 5_000,
        "file://[secret.txt", "file:///%00",
    ]  # fmt: skip
    file = junit(checkout / "junit.xml", **{f"case{number}": path for number, path in enumerate(paths)})
    assert await upload(reports, file) == STORED
    assert set((await stored(reports)).values()) == {None}
    output = capsys.readouterr()
    assert "uploaded" not in output.out
    assert "warning: attachments: /etc/passwd: outside of the checkout and of the folder of the report" in output.err
    assert "warning: attachments: .env: hidden files and credentials aren't uploaded" in output.err
    assert "https://h/.env" not in output.err


async def test_path_that_reports_of_several_folders_name_is_ambiguous(
    reports: Reports, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for module in ("a", "b"):
        write(checkout / module / f"{module}.png", module)
        named = {module: "out/shot.png", f"{module}2": f"{module}.png"}
        files.append(junit(checkout / module / "junit.xml", **named))
    write(checkout / "a/out/shot.png")
    await upload(reports, *files)
    assert await stored(reports) == {
        ("a", "shot.png"): None, ("b", "shot.png"): None, ("a2", "a.png"): b"a", ("b2", "b.png"): b"b",
    }  # fmt: skip
    assert "out/shot.png: several reports name this path, each relative to its own folder" in capsys.readouterr().err


async def test_selected_files_belong_to_the_run_and_are_not_sent_twice(
    reports: Reports, checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(checkout / "coverage/index.html", "<html>")
    write(checkout / "coverage/css/a.css", "a {}")
    (checkout / "coverage/secret").symlink_to(write(tmp_path / "secret", "secret"))
    file = junit(checkout / "junit.xml")
    options: Any = {"patterns": ["coverage/**", "*.log"], "folder": "unit"}
    assert await upload(reports, file, **options) == STORED
    assert await of_run(reports) == {"unit/coverage/index.html": b"<html>", "unit/coverage/css/a.css": b"a {}"}
    assert capsys.readouterr().err == (
        "warning: attachments: coverage/secret: a link to a file in another folder\n"
        "warning: attachments: *.log: no file matches --attach\n"
    )
    write(checkout / "coverage/index.html", "<html><body>")
    await upload(reports, file, **options)
    assert "attachments: 1 of 1 files uploaded" in capsys.readouterr().out
    assert (await of_run(reports))["unit/coverage/index.html"] == b"<html><body>"


async def test_file_that_can_not_be_read_is_skipped(
    reports: Reports, checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process can delete or protect a file while the command runs, also one that it sent before."""
    write(checkout / "a.log", "a")
    unreadable = write(checkout / "b.log", "b")
    file = junit(checkout / "junit.xml")
    assert await upload(reports, file, patterns=["*.log"]) == STORED
    readable_open = Path.open

    def open_(path: Path, *arguments: Any, **options: Any) -> Any:
        if path == unreadable.relative_to(checkout):
            raise PermissionError(13, "Permission denied", str(path))
        return readable_open(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", open_)
    write(checkout / "a.log", "changed")
    capsys.readouterr()
    assert await upload(reports, file, patterns=["*.log"]) == STORED
    output = capsys.readouterr()
    assert "warning: attachments: b.log: can't be read: Permission denied\n" in output.err
    assert "attachments: 1 of 1 files uploaded" in output.out


async def test_file_that_a_suite_names_belongs_to_the_run(reports: Reports, checkout: Path) -> None:
    suite = "<testsuite name='s'><testcase name='a'/><system-err>[[ATTACHMENT|logs/app.log]]</system-err></testsuite>"
    write(checkout / "logs/app.log", "started")
    await upload(reports, write(checkout / "junit.xml", suite))
    assert await of_run(reports) == {"app.log": b"started"}
    assert await stored(reports) == {}


async def test_selected_folder_outside_of_the_checkout(reports: Reports, checkout: Path, tmp_path: Path) -> None:
    write(tmp_path / "logs/a.log", "a")
    (checkout / "coverage").symlink_to(tmp_path / "logs")
    await upload(reports, junit(checkout / "junit.xml"), patterns=[f"{tmp_path}/logs/*.log", "coverage/*"])
    assert await of_run(reports) == {"a.log": b"a"}


def test_names_of_selected_files_begin_with_the_part() -> None:
    fields = [("project_id", "shop"), ("part", "unit"), ("variant", "os:linux"), ("shard", "2/8"), ("attempt", "1")]
    selected = select(["*.html"], fields, 60, named=True)
    assert selected
    assert selected.folder == "unit-os:linux-2-of-8"
    assert select([], fields, 60, named=False) is None


async def test_limits_skip_files_and_print_the_reason(
    database_url: str, tmp_path: Path, checkout: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    limits = {"artifact_max_bytes": 100, "artifact_bytes_per_day": 150}
    async with serving_reports_with_ingester(database_url, tmp_path, **limits) as reports:
        write(checkout / "a.png", b"a" * 101)
        for name in "bcdefgh":
            write(checkout / f"{name}.png", b"b" * 80)
        assert await upload(reports, junit(checkout / "junit.xml", a="a.png", b="b.png")) == STORED
        assert "a.png: body: must have at most 100 bytes" in capsys.readouterr().err
        rest = junit(checkout / "junit.xml", **{name: f"{name}.png" for name in "cdefgh"})
        assert await upload(reports, rest, run_id="run_2") == STORED
        output = capsys.readouterr()
        assert "attachments: 0 of 6 files uploaded" in output.out
        assert (
            "RESULTS_ARTIFACT_BYTES_PER_DAY: the artifacts of a key or trusted publisher can have at most 150 bytes"
            in output.err
        )
        monkeypatch.setattr(uploads, "MAX_FILES", 0)
        await upload(reports, rest, run_id="run_2")
        assert "c.png: at most 0 files of a report are uploaded" in capsys.readouterr().err


async def test_report_without_files_does_not_wait(
    reports: Reports, checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(name: str, *options: str) -> Result:
        url = str(reports.api.http.make_url("/"))
        arguments = ["report", "--url", url, "--key", reports.api.key, "--run-id", name, "--project", "shop", *options]
        return CliRunner().invoke(client, arguments)

    monkeypatch.setattr(uploads, "await_receipt", lambda *_: pytest.fail("the command waits"))
    passing = str(write(checkout / "a.json", '{"attachments": []}'))
    junit_file = str(junit(checkout / "junit.xml"))
    assert (await asyncio.to_thread(run, "run_1", junit_file, passing)).exit_code == 0
    write(checkout / "shot.png")
    naming = str(junit(checkout / "naming.xml", pays="shot.png"))
    assert (await asyncio.to_thread(run, "run_2", naming, "--no-attachments")).exit_code == 0
    monkeypatch.undo()
    monkeypatch.chdir(checkout)
    result = await asyncio.to_thread(run, "run_3", naming)
    assert (result.exit_code, "attachments: 1 of 1 files uploaded" in result.output) == (0, True)


async def test_files_that_a_context_of_mochawesome_names_are_uploaded(
    reports: Reports, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(checkout / "cart -- pays (failed).png")
    test = {"fullTitle": "cart pays", "state": "failed", "context": '"cart -- pays (failed).png"'}
    report = {"stats": {"tests": 1}, "results": [{"title": "cart", "tests": [test]}]}

    assert await upload(reports, write(checkout / "mochawesome.json", json.dumps(report, indent=2))) == STORED

    assert "attachments: 1 of 1 files uploaded" in capsys.readouterr().out


async def test_files_of_a_rejected_report_are_not_uploaded(reports: Reports, checkout: Path) -> None:
    write(checkout / "shot.png")
    broken = write(checkout / "junit.xml", "<testsuite>[[ATTACHMENT|shot.png]]")
    assert await upload(reports, broken) == 1
    await reports.api.error("/v1/runs/run_1", 404)
