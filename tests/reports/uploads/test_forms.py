"""Uploads of several files in one form: all reports are one event."""

import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData

from service.reports.format_table import media_type_of
from service.reports.report_heads import HEAD_BYTES
from tests.report_api import Reports, serving_reports_with_ingester
from tests.reports.manifests import OWN

PASSED = "<testsuite name='shop'><testcase name='pays' time='1'/><testcase name='ships'/></testsuite>"
FAILED = "<testsuite name='shop'><testcase name='pays' time='2'><failure message='no'/></testcase></testsuite>"
OTHER = "<testsuite name='stock'><testcase name='counts'><failure/></testcase></testsuite>"


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports_with_ingester(database_url, tmp_path) as opened:
        yield opened


def form_of(*files: tuple[str, str, str | bytes, str]) -> FormData:
    form = FormData()
    for field, name, content, content_type in files:
        form.add_field(field, content, filename=name, content_type=content_type)
    return form


async def results(reports: Reports) -> dict[str, Any]:
    page = await reports.api.get("/v1/results", {"run_id": "run_1"})
    return {result["name"]: result for result in page["data"]}


async def test_all_reports_of_a_form_are_one_event(reports: Reports) -> None:
    form = form_of(("report", "a.xml", PASSED, "text/xml"), ("report", "b.xml", OTHER, "text/xml"))
    receipt = await reports.ingest(form)
    assert (receipt["status"], receipt["results"]) == ("stored", 3)
    run = await reports.api.get("/v1/runs/run_1")
    assert (run["complete"], run["revision"], run["counts"]["passed"], run["counts"]["failed"]) == (True, 1, 2, 1)
    kinds = [artifact["kind"] for artifact in await reports.artifacts()]
    assert kinds == ["report", "report"]


@pytest.mark.parametrize(("files", "names"), [(2, 3_000), pytest.param(300, 10, marks=pytest.mark.slow)])
async def test_form_whose_outcome_is_large_is_stored(reports: Reports, files: int, names: int) -> None:
    """The parser process sends the names that occur in several files, and all files, to the worker."""
    cases = "".join(f"<testcase name='{number}'/>" for number in range(names))
    suite = f"<testsuite name='{'s' * 200}'>{cases}</testsuite>"
    form = form_of(*(("report", f"{'f' * 200}-{number}.xml", suite, "text/xml") for number in range(files)))
    receipt = await reports.ingest(form)
    assert (receipt["status"], receipt["results"]) == ("stored", names)


@pytest.mark.parametrize("order", [(PASSED, FAILED), (FAILED, PASSED)], ids=("failed last", "failed first"))
async def test_worse_outcome_of_a_case_in_two_reports_wins(reports: Reports, order: tuple[str, str]) -> None:
    form = form_of(*(("report", f"{number}.xml", text, "text/xml") for number, text in enumerate(order)))
    receipt = await reports.ingest(form)
    assert (receipt["status"], receipt["results"]) == ("stored", 2)
    assert {name: result["status"] for name, result in (await results(reports)).items()} == {
        "pays": "failed", "ships": "passed",
    }  # fmt: skip


@pytest.mark.parametrize("other", ["pays\0", "pays\N{REPLACEMENT CHARACTER}"], ids=range(2))
async def test_names_that_are_equal_after_the_replacement_of_characters_are_one_case(
    reports: Reports, other: str
) -> None:
    texts = [
        json.dumps({"results": [{"name": name, "status": status}]})
        for name, status in [("pays\0", "failed"), (other, "passed")]
    ]
    form = form_of(*(("report", f"{number}.json", text, "application/json") for number, text in enumerate(texts)))
    receipt = await reports.ingest(form)
    assert (receipt["status"], receipt["results"]) == ("stored", 1)
    assert {name: result["status"] for name, result in (await results(reports)).items()} == {
        "pays\N{REPLACEMENT CHARACTER}": "failed"
    }


async def test_repeated_names_within_a_report_stay_occurrences(reports: Reports) -> None:
    twice = "<testsuite name='shop'><testcase name='pays'/><testcase name='pays'/></testsuite>"
    form = form_of(("report", "a.xml", twice, "text/xml"), ("report", "b.xml", FAILED, "text/xml"))
    assert (await reports.ingest(form))["results"] == 2
    run = await reports.api.get("/v1/runs/run_1")
    assert (run["counts"]["passed"], run["counts"]["failed"]) == (1, 1)


async def test_repeated_case_id_is_an_attempt_within_a_report_and_combined_between_reports(reports: Reports) -> None:
    def native(*statuses: str) -> str:
        listed = ",".join(f'{{"case_id": "tc_1", "name": "pays", "status": "{status}"}}' for status in statuses)
        return f'{{"results": [{listed}]}}'

    files = (native("failed", "passed"), native("passed"))
    form = form_of(*(("report", f"{number}.json", text, "application/json") for number, text in enumerate(files)))
    assert (await reports.ingest(form))["results"] == 1
    result = (await results(reports))["pays"]
    assert (result["status"], result["attempts"], result["flaky"]) == ("passed", 2, True)


async def test_report_in_another_field_is_a_report_and_not_an_attachment(reports: Reports) -> None:
    form = form_of(
        ("report", "a.xml", PASSED, "text/xml"),
        ("file", "b.xml", OTHER, "application/octet-stream"),
        ("file", "other.xml", "<svg/>", "text/xml"),
        ("attachment", "attached.xml", OTHER, "text/xml"),
    )
    assert (await reports.ingest(form))["results"] == 3
    names = {artifact["name"] for artifact in await reports.artifacts()}
    assert {"other.xml", "attached.xml"} <= names
    assert "b.xml" not in names


async def test_report_that_can_not_be_read_is_a_report_in_any_field(reports: Reports) -> None:
    unreadable = b'<test-results><test-case success="False"/></test-results>'
    for run_id, field in (("run_1", "report"), ("run_2", "file")):
        form = form_of(
            ("report", "a.xml", PASSED, "text/xml"), (field, "b.xml", unreadable, "application/octet-stream")
        )
        receipt = await reports.ingest(form, run_id)
        assert (receipt["status"], receipt["results"]) == ("partial", 2)
        assert receipt["problems"][0]["reason"].startswith("b.xml: XML reports of NUnit 2, such as")
        assert (await reports.api.get(f"/v1/runs/{run_id}"))["failures_missing"] is True
    form = form_of(("report", "a.xml", PASSED, "text/xml"), ("attachment", "b.xml", unreadable, "text/xml"))
    assert (await reports.ingest(form, "run_3"))["status"] == "stored"


async def test_upload_without_a_report_that_can_be_read_is_rejected(reports: Reports) -> None:
    texts = {"a.xml": "<test-results/>", "b.xml": "<testsuite/>", "c.xml": "<Site/>"}
    receipt = await reports.ingest(form_of(*(("report", name, text, "text/xml") for name, text in texts.items())))
    assert receipt["status"] == "rejected"
    assert (
        "no_valid_result: the report contains no valid result: a.xml: XML reports of"
        in receipt["problems"][0]["reason"]
    )
    form = form_of(*(("report", name, texts[name], "text/xml") for name in ("c.xml", "a.xml")))
    assert (await reports.ingest(form))["problems"][0]["reason"].startswith("unsupported_format: c.xml: Test.xml files")


async def test_report_that_can_not_be_read_to_its_end_stores_nothing_of_it(reports: Reports) -> None:
    unreadable = '{"results": [{"name": "lost", "status": "failed"}], "rpa": false}'
    form = form_of(("report", "a.json", unreadable, "application/json"), ("report", "b.xml", PASSED, "text/xml"))
    receipt = await reports.ingest(form)
    assert (receipt["status"], receipt["results"]) == ("partial", 2)
    assert set(await results(reports)) == {"pays", "ships"}


@pytest.mark.parametrize(("name", "count"), [("go-test.jsonl", 17), ("playwright.json", 16), ("mstest.trx", 8)])
async def test_report_of_each_format_is_recognized_in_any_field(reports: Reports, name: str, count: int) -> None:
    content = (OWN / name).read_bytes()
    for run_id, field, content_type in (
        ("run_1", "report", media_type_of(name) or ""),
        ("run_2", "report", "application/octet-stream"),
        ("run_3", "file", "application/octet-stream"),
    ):
        form = form_of(("report", "a.xml", PASSED, "text/xml"), (field, name, content, content_type))
        receipt = await reports.ingest(form, run_id)
        assert (receipt["status"], receipt["results"]) == ("stored", count + 2)


async def test_file_of_another_field_is_stored_unchanged(reports: Reports) -> None:
    large = b"log" * HEAD_BYTES * 8
    form = form_of(("report", "a.xml", PASSED, "text/xml"), ("file", "all.log", large, "text/plain"))
    await reports.ingest(form)
    log = next(artifact for artifact in await reports.artifacts() if artifact["name"] == "all.log")
    path = f"/v1/artifacts/{log['id']}"
    response = await reports.api.http.get(path, headers={"Authorization": f"Bearer {reports.api.key}"})
    assert await response.read() == large


async def test_malformed_report_rejects_the_upload_and_names_the_file(reports: Reports) -> None:
    form = form_of(("report", "a.xml", PASSED, "text/xml"), ("report", "b.xml", "<testsuite>", "text/xml"))
    receipt = await reports.ingest(form)
    assert receipt["status"] == "rejected"
    assert receipt["problems"][0]["reason"].startswith("malformed_report: b.xml: ")
    await reports.api.error("/v1/runs/run_1", 404)


async def test_problems_name_the_file(reports: Reports) -> None:
    invalid = '{"results": [{"name": "a", "status": "green", "file": 7}, {"name": "b", "status": "passed"}]}'
    form = form_of(
        ("report", "a.xml", PASSED, "text/xml"),
        ("report", "b.json.gz", gzip.compress(invalid.encode()), "application/json"),
    )
    receipt = await reports.ingest(form)
    assert (receipt["status"], receipt["results"]) == ("partial", 3)
    [problem] = receipt["problems"]
    assert (problem["index"], problem["name"]) == (2, "a")
    assert problem["reason"].startswith("b.json: file: ")


async def test_limits_apply_to_all_reports_together(database_url: str, tmp_path: Path) -> None:
    form = form_of(*(("report", f"{number}.xml", OTHER, "text/xml") for number in range(3)))
    async with serving_reports_with_ingester(database_url, tmp_path, report_max_results=2) as reports:
        receipt = await reports.ingest(form)
    assert receipt["problems"][0]["reason"].startswith("too_large: 2.xml: ")


async def test_empty_report_among_several_is_named(reports: Reports) -> None:
    form = form_of(("report", "a.xml", PASSED, "text/xml"), ("report", "b.xml", b"", "text/xml"))
    response = await reports.post(form)
    assert response.status == 400
    assert "'b.xml' must not be empty" in (await response.json())["error"]["message"]
