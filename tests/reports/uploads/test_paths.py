"""Uploads whose files are relative to a folder of the repository: the parameter, the header of a form, and retries."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import MultipartWriter

from service.reports.model import StoredPart, Upload
from tests.report_api import Reports, serving_reports_with_ingester
from tests.reports.archive_files import pack_zip


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports_with_ingester(database_url, tmp_path) as opened:
        yield opened


def report(name: str) -> bytes:
    return f'<testsuite name="s"><testcase name="{name}" classname="c" file="{name}.js"/></testsuite>'.encode()


def form_of(**prefixes: str | None) -> MultipartWriter:
    """Return a form with a report for each prefix. Without a prefix, the report has no header."""
    form = MultipartWriter("form-data")
    for name, prefix in prefixes.items():
        part = form.append(report(name), {} if prefix is None else {"Path-Prefix": prefix})
        part.set_content_disposition("form-data", name="report", filename=f"{name}.xml")
    return form


async def files(reports: Reports) -> set[str]:
    return {result["file"] for result in (await reports.api.get("/v1/results", {"run_id": "run_1"}))["data"]}


@pytest.mark.parametrize("prefix", ["services/web", "services//web/", "./services/web", "services\\web"])
async def test_parameter_is_the_folder_of_a_report(reports: Reports, prefix: str) -> None:
    await reports.ingest(report("a"), params={"path_prefix": prefix})
    assert await files(reports) == {"services/web/a.js"}


async def test_parameter_applies_to_the_reports_of_an_archive(reports: Reports) -> None:
    await reports.ingest(pack_zip({"a.xml": report("a"), "x/b.xml": report("b")}), params={"path_prefix": "web"})
    assert await files(reports) == {"web/a.js", "web/b.js"}


async def test_header_of_a_report_in_a_form_replaces_the_parameter(reports: Reports) -> None:
    form = form_of(a=None, b="api", c="b%C3%BCcher/x%20y", d=".", e="")
    await reports.ingest(form, params={"path_prefix": "web"})
    assert await files(reports) == {"web/a.js", "api/b.js", "bücher/x y/c.js", "d.js", "e.js"}


@pytest.mark.parametrize("prefix", ["/web", "../web", "web/../..", "C:\\web", "\\web", "web\x01", "w" * 1_001])
async def test_folder_outside_of_the_repository_is_an_error(reports: Reports, prefix: str) -> None:
    response = await reports.post(report("a"), params={"path_prefix": prefix})
    error: Any = (await response.json())["error"]
    assert (response.status, error["param"]) == (400, "path_prefix")


async def test_header_with_a_folder_outside_of_the_repository_is_an_error(reports: Reports) -> None:
    response = await reports.post(form_of(a="%2Fweb"))
    message = (await response.json())["error"]["message"]
    assert (response.status, message.partition(": must be")[0]) == (400, "form: Path-Prefix")


async def test_another_folder_is_another_upload_and_the_same_case(reports: Reports) -> None:
    first, corrected, repeated = [
        await reports.ingest(report("a"), params={"path_prefix": prefix}) for prefix in ("wrong", "web", "web")
    ]
    assert first["id"] != corrected["id"] == repeated["id"]
    assert await files(reports) == {"web/a.js"}
    assert len((await reports.api.get("/v1/cases", {"project_id": "shop"}))["data"]) == 1


def test_earlier_versions_read_uploads_without_a_folder() -> None:
    part = StoredPart("path", "a.xml", None, 1, "00")
    document = Upload((part,), {}, attachments=(part,)).to_document()
    assert "path_prefix" not in str(document)
    moved = Upload((StoredPart("path", "a.xml", None, 1, "00", "web"),), {})
    assert Upload.of_document(moved.to_document()) == moved
