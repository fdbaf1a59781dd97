"""Uploads of archives: the reports in them are one event."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData

from service.reports.write_run import RunWriter
from tests.report_api import PASSING, Reports, serving_reports_with_ingester
from tests.reports.allure_documents import START, labels_of, result
from tests.reports.archive_files import PACKERS, Files, pack_gzip, pack_tar, pack_zip, pack_zstd, suite
from tests.reports.manifests import OWN

FILES = {"unit/TEST-a.xml": suite("a"), "unit/TEST-b.xml": suite("b"), "shot.png": b"\x89PNG"}


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports_with_ingester(database_url, tmp_path) as opened:
        yield opened


def form_of(*files: tuple[str, str, bytes]) -> FormData:
    form = FormData()
    for field, name, content in files:
        form.add_field(field, content, filename=name)
    return form


async def stored(reports: Reports, run_id: str = "run_1") -> list[tuple[str, Any]]:
    listed = (await reports.api.get(f"/v1/runs/{run_id}/artifacts"))["data"]
    return [(artifact["name"].partition(".")[2], artifact["content_type"]) for artifact in listed]


@pytest.mark.parametrize(
    ("pack", "content_type", "suffix"),
    [
        (pack_zip, "application/zip", "zip"),
        (pack_tar, "application/x-tar", "tar"),
        (pack_gzip, "application/gzip", "gz"),
        (pack_zstd, "application/zstd", "zst"),
    ],
)
async def test_archive_is_one_upload_and_an_artifact_of_its_run(
    reports: Reports, pack: Callable[[Files], bytes], content_type: str, suffix: str
) -> None:
    receipt = await reports.ingest(pack(FILES), Content_Type=content_type)
    assert (receipt["status"], receipt["results"]) == ("stored", 2)
    [problem] = receipt["problems"]
    assert problem["reason"] == "ignored: 1 file that isn't a report: shot.png"
    assert await stored(reports) == [(suffix, content_type)]


async def test_archives_of_a_form_keep_their_suffixes(reports: Reports) -> None:
    names = ("a.zip", "b.tar", "c.tar.gz", "d.tar.zst")
    files = [("report", name, pack({f"{name}.xml": suite(name)})) for name, pack in zip(names, PACKERS, strict=True)]
    receipt = await reports.ingest(form_of(*files, ("report", "e.xml", PASSING)))
    assert (receipt["status"], receipt["results"]) == ("stored", 6)
    assert set(await stored(reports)) == {
        ("zip", "application/zip"), ("tar", "application/x-tar"), ("tar.gz", "application/gzip"),
        ("tar.zst", "application/zstd"), ("", None),
    }  # fmt: skip


async def test_pass_in_another_archive_of_allure_results_is_no_retry(reports: Reports) -> None:
    """Both browsers execute the same test, which has one history."""
    labels = labels_of("junit-platform")
    failed = json.dumps(result("u1", status="failed", historyId="h", labels=labels)).encode()
    passed = json.dumps(result("u2", historyId="h", start=START + 9_000, labels=labels)).encode()
    archives = {"chrome.zip": failed, "firefox.zip": passed}
    files = [("report", name, pack_zip({"a-result.json": content})) for name, content in archives.items()]

    await reports.ingest(form_of(*files))

    run = await reports.api.get("/v1/runs/run_1")
    assert (run["status"], run["counts"]["failed"], run["counts"]["flaky"]) == ("failed", 1, 0)


async def test_archive_in_another_field_is_an_attachment(reports: Reports) -> None:
    trace = pack_zip({"report.xml": suite("a")})
    receipt = await reports.ingest(form_of(("report", "a.xml", PASSING), ("file", "trace.zip", trace)))
    assert (receipt["status"], receipt["results"]) == ("stored", 2)
    assert "trace.zip" in {artifact["name"] for artifact in await reports.artifacts()}


@pytest.mark.parametrize("as_archive", [True, False], ids=("archive", "form"))
async def test_reports_of_several_formats_are_one_event_and_problems_name_the_file(
    reports: Reports, *, as_archive: bool
) -> None:
    files = {
        "junit-a.xml": PASSING,
        "web-playwright.json": (OWN / "playwright.json").read_bytes(),
        "dotnet-mstest.trx": (OWN / "mstest.trx").read_bytes(),
        "native-b.json": b'{"results": [{"name": "a", "status": "green", "file": 7}]}',
    }
    forms = form_of(*(("report", name, content) for name, content in files.items()))
    receipt = await reports.ingest(pack_zip(files) if as_archive else forms)
    assert (receipt["status"], receipt["results"]) == ("partial", 2 + 16 + 8)
    [problem] = [problem for problem in receipt["problems"] if problem["index"] is not None]
    assert problem["reason"].startswith("native-b.json: file: ")


async def test_malformed_report_rejects_the_archive_and_names_both(reports: Reports) -> None:
    data = pack_zip({"ok.xml": PASSING, "x/b.xml": b"<testsuite>"})
    receipt = await reports.ingest(form_of(("report", "r.zip", data), ("report", "a.xml", PASSING)))
    assert receipt["status"] == "rejected"
    assert receipt["problems"][0]["reason"].startswith("malformed_report: r.zip/x/b.xml: ")


async def test_results_of_many_files_are_stored_in_few_batches(
    reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    add = RunWriter.add

    async def counted(self: RunWriter, connection: Any, outcomes: Any) -> None:
        batches.append(len(outcomes))
        await add(self, connection, outcomes)

    monkeypatch.setattr(RunWriter, "add", counted)
    files = {f"{number}.xml": suite(f"s{number}") for number in range(120)}
    receipt = await reports.ingest(pack_zip({**files, "again.xml": suite("s0")}))
    assert (receipt["status"], receipt["results"]) == ("stored", 120)
    assert batches == [119, 1]


@pytest.mark.parametrize("pack", [pack_zip, pack_gzip])
async def test_screenshot_of_allure_in_an_archive_is_a_download_of_its_result(
    reports: Reports, pack: Callable[[Files], bytes]
) -> None:
    image = "0c8f2a51-5a3c-4f0e-9d57-0d6f3a0f2b11-attachment.png"
    named = [{"name": "cart", "source": image, "type": "image/png"}]
    result = {"uuid": "u", "historyId": "h", "name": "pays", "status": "passed", "attachments": named}
    files = {f"allure-results/{image}": b"\x89PNG", "allure-results/u-result.json": json.dumps(result).encode()}
    for attempt in ("1", "2"):
        receipt = await reports.ingest(pack(files), params={"attempt": attempt})
        assert (receipt["status"], receipt["problems"]) == ("stored", [])

    listed = [each for each in await reports.artifacts() if each["kind"] == "screenshot"]
    assert [(each["name"], each["content_type"], each["size"]) for each in listed] == [
        ("cart.png", "image/png", 4), ("cart (attempt 2).png", "image/png", 4),
    ]  # fmt: skip
    for artifact in listed:
        assert await (await reports.api.send("GET", f"/v1/artifacts/{artifact['id']}")).read() == b"\x89PNG"
