"""The owners of files that an upload states: what is accepted, which results get them, and what forks can't do."""

import gzip
import json
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData

from service.reports.model import StoredPart, UnsupportedUpload, Upload
from tests.forks import RUN, Fork, find_rows, promote_completely, serving_fork
from tests.report_api import Reports, serving_reports_with_ingester

JUNIT = b"""<testsuite name="shop">
    <testcase name="pays" file="tests/pay.py"/>
    <testcase name="ships" file="tests/ship.py">
        <properties><property name="owner" value="@p, @q"/></properties>
    </testcase>
    <testcase name="other" file="other.py"/>
    <testcase name="free"/>
</testsuite>"""
RULES = {"host": "github", "sections": [[["tests/pay.py", ["@payments"]], ["other.py", []]]], "map": []}
SHARED = {"host": "gitlab", "sections": [[["*", [f"@{number}-{name}" for number in range(9)]]] for name in "ab"]}


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports_with_ingester(database_url, tmp_path) as opened:
        yield opened


def form(*owners: Any, report: bytes = JUNIT) -> FormData:
    data = FormData()
    data.add_field("report", report, filename="junit.xml", content_type="application/xml")
    for document in owners:
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        data.add_field("owners", BytesIO(content), filename="owners.json", content_type="application/json")
    return data


async def owners(reports: Reports) -> dict[str, list[str]]:
    """Return the owners of each case, of which both tables have the same."""
    rows = await reports.api.store.pool.fetch(
        "SELECT name, owners, ARRAY(SELECT owner FROM case_owners o WHERE o.case_key = c.case_key) AS indexed"
        " FROM cases c"
    )
    assert all(sorted(row["owners"]) == sorted(row["indexed"]) for row in rows)
    return {row["name"]: list(row["owners"]) for row in rows}


async def test_rules_and_properties_decide_the_owners(reports: Reports) -> None:
    receipt = await reports.ingest(form(RULES))
    assert (receipt["status"], receipt["problems"]) == ("stored", [])
    expected = {"pays": ["@payments"], "ships": ["@p", "@q"], "other": [], "free": []}
    assert await owners(reports) == expected
    page = await reports.api.get("/v1/cases", {"project_id": "shop"})
    assert {case["name"]: case["owners"] for case in page["data"]} == expected


async def test_unowned_file_clears_the_owners_and_a_missing_statement_does_not(reports: Reports) -> None:
    report = JUNIT.replace(b"@p, @q", b"@p")
    await reports.ingest(form(RULES))
    await reports.ingest(form(report=report.replace(b'name="owner"', b'name="area"')), "run_2")
    assert (await owners(reports))["pays"] == ["@payments"]
    await reports.ingest(form({**RULES, "sections": []}, report=report), "run_3")
    assert await owners(reports) == {"pays": [], "ships": ["@p"], "other": [], "free": []}
    await reports.ingest(form({**RULES, "sections": [], "map": [["tests/*", ["@qa"]]]}), "run_4")
    assert await owners(reports) == {"pays": ["@qa"], "ships": ["@qa"], "other": [], "free": []}


async def test_same_results_with_other_owners_are_another_upload(reports: Reports) -> None:
    first = await reports.ingest(form(RULES))
    packed = gzip.compress(json.dumps(dict(reversed(RULES.items())), indent=2).encode())
    assert (await reports.ingest(form(packed)))["id"] == first["id"]  # a retry, which can be compressed otherwise
    other = {**RULES, "sections": [[["tests/pay.py", ["@shop"]]]]}
    assert (await reports.ingest(form(other)))["id"] != first["id"]
    assert (await owners(reports))["pays"] == ["@shop"]


@pytest.mark.parametrize(
    ("documents", "status", "message"),
    [
        ([b"{"], 400, "owners: Invalid JSON"),
        ([b"\x1f\x8bdamaged"], 400, "owners: owners.json must be one complete gzip file"),
        ([{"host": "svn"}], 400, "owners.host: must be 'github' or 'gitlab' (owners.json)"),
        ([{"host": "github", "sections": [[["", ["@a"]]]]}], 400, "owners.sections.0.0.0: must not be empty"),
        ([{"host": "github", "sections": [[["a", ["@" + "x" * 100]]]]}], 400, "owners.sections.0.0.1.0: must have at"),
        ([{"host": "github", "map": [["a" * 501, []]]}], 400, "owners.map.0.0: must have at most 500 characters"),
        (
            [{"host": "github", "map": [["a", [str(owner) for owner in range(11)]]]}],
            400,
            "owners.map.0.1: must have at",
        ),
        ([{"host": "github", "more": 1}], 400, "owners.more: is not supported"),
        ([b" " * (4 * 2**20 + 1)], 413, "owners: owners.json must have at most 4194304 bytes without compression"),
        ([gzip.compress(b" " * (4 * 2**20 + 1))], 413, "owners: owners.json must have at most 4194304 bytes"),
        ([RULES, RULES], 400, "owners: must occur at most once"),
    ],
)
async def test_invalid_owners_are_refused(reports: Reports, documents: Any, status: int, message: str) -> None:
    response = await reports.post(form(*documents))
    error = (await response.json())["error"]
    assert (response.status, error["message"][: len(message)]) == (status, message)
    assert [path async for page in reports.storage.list_all("inbox/1/") for path in page] == []


async def test_owners_of_many_sections_are_a_problem_of_the_receipt(reports: Reports) -> None:
    receipt = await reports.ingest(form(SHARED))
    reason = "owners: tests/pay.py has 18 owners, of which 10 are stored"
    assert [problem["reason"] for problem in receipt["problems"]] == [reason]
    assert len((await owners(reports))["pays"]) == 10


async def test_owners_of_allure_labels(reports: Reports) -> None:
    labels = [{"name": "owner", "value": name} for name in ("ann", "bob")]
    result = {"uuid": "1", "name": "pays", "status": "passed", "labels": labels}
    data = FormData()
    data.add_field("report", json.dumps(result).encode(), filename="a-result.json", content_type="application/json")
    await reports.ingest(data)
    assert await owners(reports) == {"pays": ["ann", "bob"]}


async def test_own_format_states_owners(reports: Reports) -> None:
    results = [{"name": name, "status": "passed", "file": f"{name}.py", "owners": ["@r"]} for name in ("a", "b")]
    document = json.dumps({"results": results}).encode()
    rules = {"host": "github", "sections": [[["a.py", ["@rule"]]]]}
    await reports.ingest(form(rules, report=document))
    assert await owners(reports) == {"a": ["@rule"], "b": ["@r"]}


async def test_forks_decide_no_owners(database_url: str, tmp_path: Path) -> None:
    async with serving_fork(database_url, tmp_path) as fork:
        rules = {"host": "github", "sections": [[["*", ["@evil"]]]]}
        report = (
            b'<testsuite><testcase classname="auth.login" name="%s" file="a.py"><properties><property name="owner" '
            b'value="@evil"/></properties></testcase></testsuite>'
        )
        receipts = [await fork_upload(fork, rules, report % name) for name in (b"logs in", b"evil")]
        assert not await find_rows(fork.reports, "SELECT owner FROM case_owners")
        await promote_completely(fork.reports, receipts)
        assert not await find_rows(fork.reports, "SELECT owner FROM case_owners")
        assert await find_rows(fork.reports, "SELECT name FROM cases WHERE owners <> '{}'") == []


async def fork_upload(fork: Fork, rules: Any, report: bytes) -> Any:
    receipt = await fork.upload(RUN, form(rules, report=report))
    assert receipt["status"] == "stored", receipt
    return receipt


def test_earlier_versions_read_uploads_without_owners() -> None:
    part = StoredPart("inbox/1/rcp_1/0", "a", None, 1, "ab")
    upload = Upload((part,), {"project_id": "shop"})
    assert "owners" not in upload.to_document()
    stated = Upload((part,), {"project_id": "shop"}, owners=part)
    assert Upload.of_document(stated.to_document()) == stated
    assert stated.paths == [part.path, part.path]
    with pytest.raises(UnsupportedUpload):
        Upload.of_document({**upload.to_document(), "owners": {"unknown": 1}})
