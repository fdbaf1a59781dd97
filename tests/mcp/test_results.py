"""The tools show the attempts of a result, its failure, and its files, in parts without a gap."""

from pathlib import Path
from typing import Any

import pytest

from service.client.http import ClientError
from tests.mcp.calls import all_rows, call
from tests.mcp.runs import failing, first_result
from tests.report_api import Reports, serving_reports, serving_reports_with_ingester
from tests.run_events import result, run_event
from tests.served import Api


async def test_attempts_have_the_ids_of_their_output(database_url: str, tmp_path: Path) -> None:
    async with serving_reports(database_url, tmp_path) as reports:
        artifact = await with_log(reports, b"503", "text/plain")
        _, document = await first_result(reports.api)
        assert [each["artifact_ids"] for each in document["attempt_details"]] == [[artifact["artifact_id"]]]


def report_with_output(output: str) -> bytes:
    failed = f'<failure message="no money"/><system-out>{output}</system-out>'
    return f'<testsuite name="shop"><testcase name="pays">{failed}</testcase></testsuite>'.encode()


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
async def test_output_of_each_attempt_of_a_job_is_that_of_its_report(
    database_url: str, tmp_path: Path, order: tuple[int, int]
) -> None:
    async with serving_reports_with_ingester(database_url, tmp_path) as reports:
        for attempt in order:
            params = {"part": "unit", "attempt": str(attempt)}
            await reports.ingest(report_with_output(f"output {attempt}"), params=params)
        _, document = await first_result(reports.api)
        texts = {}
        for each in document["attempt_details"]:
            for artifact_id in each["artifact_ids"]:
                log = await call(reports.api, "read_log", artifact_id=artifact_id)
                texts[each["job_attempt"]] = log["untrusted"]["text"].strip()
        assert texts == {1: "output 1", 2: "output 2"}


async def test_failure_and_its_attempts_are_shown(api: Api) -> None:
    attempts = [{"status": "failed", "failure": {"message": f"try {number}"}} for number in range(7)]
    await api.store.ingest(run_event(results=[failing(attempts=attempts, file="shop.py", line=3)]))
    ((item,), document) = await first_result(api)
    assert document["untrusted"] == {
        "run_id": "run_1", "project_id": "shop", "suite": "auth.login", "name": "pays", "file": "shop.py",
    }  # fmt: skip
    assert (document["status"], document["attempts"], document["line"]) == ("failed", 7, 3)
    assert document["omitted_attempts"] == 2
    assert [attempt["attempt"] for attempt in document["attempt_details"]] == [3, 4, 5, 6, 7]
    assert document["result_id"] == item["result_id"]


async def test_long_details_are_continued_without_a_gap(api: Api) -> None:
    details = "".join(chr(ord("a") + number % 26) + '"' for number in range(8_000))
    await api.store.ingest(run_event(results=[result("a", "failed", failure={"message": "m", "details": details})]))
    found, further = "", {"details_offset": 0}
    while further is not None:
        _, document = await first_result(api, **further)
        found += document["failure"]["untrusted"]["details"]
        further = document["continue_with"]
    assert found == details
    assert document["failure"]["untrusted"]["message"] == "m"
    assert "truncated_texts" not in document["failure"]


async def with_log(reports: Reports, log: bytes, kind: str = "text/plain") -> Any:
    """Store a failing result with this log, and return the artifact as get_result shows it."""
    await reports.api.store.ingest(run_event(results=[failing()]))
    results, _ = await first_result(reports.api)
    await reports.api.attach(results[0]["result_id"], "out.log", log, kind)
    _, document = await first_result(reports.api)
    return document["artifacts"][0]


async def test_log_is_read_in_parts_without_a_gap(database_url: str, tmp_path: Path) -> None:
    lines = "".join(f"{number} pays\n" for number in range(3_000))
    log = "x" + "ä" * 10_000 + lines.replace("pays", "\x1b[31mpays\x1b[0m")  # a character crosses the end of a part
    async with serving_reports(database_url, tmp_path) as reports:
        artifact = await with_log(reports, log.encode())
        assert (artifact["size"], artifact["is_stored"]) == (len(log.encode()), True)
        text, further = "", {"offset": 0}
        while further is not None:
            part = await call(reports.api, "read_log", artifact_id=artifact["artifact_id"], **further)
            text += part["untrusted"]["text"]
            further = part["continue_with"]
        assert text == "x" + "ä" * 10_000 + lines
        last = await call(reports.api, "read_log", artifact_id=artifact["artifact_id"], offset=-20)
        assert (last["end"], last["size"]) == (part["size"], part["size"])
        assert last["untrusted"]["text"].endswith("2999 pays\n")


async def test_file_of_a_run_is_listed_only_with_the_run(database_url: str, tmp_path: Path) -> None:
    async with serving_reports(database_url, tmp_path) as reports:
        await with_log(reports, b"output of a suite")
        assert await all_rows(reports.api, "list_run_artifacts", "artifacts", run_id="run_1") == []
        await reports.api.store.pool.execute("UPDATE artifacts SET case_key = 0")
        _, document = await first_result(reports.api)
        assert document["artifacts"] == []
        (artifact,) = await all_rows(reports.api, "list_run_artifacts", "artifacts", run_id="run_1")
        assert (artifact["kind"], artifact["untrusted"]["name"]) == ("log", "out.log")
        part = await call(reports.api, "read_log", artifact_id=artifact["artifact_id"])
        assert part["untrusted"]["text"] == "output of a suite"


async def test_file_that_cannot_be_shown_is_an_error(database_url: str, tmp_path: Path) -> None:
    async with serving_reports(database_url, tmp_path) as reports:
        for log, kind, offset, message in (
            (b"\x89PNG\r\n\x1a\n\x00\x00", "text/plain", 0, "artifact_id: the file isn't UTF-8 text"),
            (b"\xff\xd8\xff\xe0" * 9, "text/plain", 0, "artifact_id: the file isn't UTF-8 text"),
            (b"text", "image/png", 0, r"artifact_id: the file isn't text \(its type starts with image/\)"),
            (b"texts", "text/plain", 5, "offset: is after the end of the file"),
            (b"", "text/plain", 0, "offset: is after the end of the file, or the file is empty"),
        ):
            artifact = await with_log(reports, log, kind)
            with pytest.raises(ClientError, match=message):
                await call(reports.api, "read_log", artifact_id=artifact["artifact_id"], offset=offset)
