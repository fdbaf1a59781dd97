"""The delivery of reports to a server that can be down, slow, or unreachable, and the request for an excuse."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, NamedTuple

from service.client.attachments import AttachmentOptions, upload_attachments
from service.client.http import SILENCE_S, ClientError, Heartbeat, JsonObject, Server, read_list
from service.client.report import print_receipt, send_reports, warn_if_replaced, write_report_outputs
from service.client.report_files import SentReport
from service.client.report_options import UploadOptions
from service.client.runner.conditions import REPORTS, SERVER, Doubt
from service.client.runner.spool import SpoolEntry
from service.client.runs import await_receipt, run_path
from service.client.servers import ServerKey, open_server
from service.client.terminal import print_message, printable_line
from service.comparison.model import full_name
from service.quarantines.model import CaseMatcher
from service.receipts.model import is_unfinished

_MAX_NAMED: Final = 20  # excused results
_PAGE: Final = "1000"


class Destination(NamedTuple):
    """A server and the key for it."""

    url: str
    key: ServerKey


class StatedFailure(NamedTuple):
    """What the client states about a failed command. `failures` is the number of failed tests, or None if unknown."""

    failures: int | None
    allow_missing_cases: bool


class DeliveredReports(NamedTuple):
    """A delivered upload. `doubts` are the reasons why its failures aren't excused; `excused` names the tests."""

    receipt: JsonObject
    doubts: Sequence[Doubt]
    excused: Sequence[str] = ()


def find_quarantines(destination: Destination, upload: UploadOptions, heartbeat: Heartbeat) -> list[dict[str, str]]:
    """Return the active quarantines that name a test of the upload exactly. Raises ClientError."""
    variant = dict(pair.split(":", 1) for name, pair in upload.fields if name == "variant")
    with _open(destination, upload, heartbeat) as server:
        params = {"project_id": upload.project, "active": "true", "limit": _PAGE}
        listed = read_list(server, "/quarantines", params)
    exact = [
        (each["id"], each.get("named_case") or each)
        for each in listed
        if each.get("named_case") or CaseMatcher(None, each["suite"], each["name"]).names_one_case
    ]
    return [
        {"id": quarantine_id, "suite": test["suite"], "name": test["name"]}
        for quarantine_id, test in exact
        if test["variant"] == variant
    ]


def _open(destination: Destination, upload: UploadOptions, heartbeat: Heartbeat) -> AbstractContextManager[Server]:
    return open_server(
        *destination, SILENCE_S, upload.project, timeout=SILENCE_S, event_hooks={"response": [heartbeat.renew]}
    )


def deliver(
    destination: Destination, upload: UploadOptions, entry: SpoolEntry, reports: Sequence[SentReport], title: str,
    excuse: StatedFailure | None, timeout_s: float, heartbeat: Heartbeat,
) -> DeliveredReports:  # fmt: skip
    """Send the packed reports of an entry, and request the excuse for their failures. Raises ClientError.

    The entry is deleted as soon as the server has accepted the reports.
    """
    with _open(destination, upload, heartbeat) as server:
        receipt = send_reports(server, upload.run_id, reports, title, upload.fields, heartbeat.renew)
        entry.remove()
        receipt = await_receipt(server, receipt, timeout_s)
        run_url = server.links.run(upload.run_id)
        print_receipt(title, receipt)
        if upload.expects_new:
            warn_if_replaced(receipt)
        print_message(f"run {printable_line(upload.run_id)}: {run_url}")
        write_report_outputs(upload.run_id, run_url, receipt, upload.fields)
        if is_unfinished(receipt):
            return DeliveredReports(receipt, [Doubt(REPORTS, f"the reports aren't processed after {timeout_s:g} s")])
        if receipt["status"] == "rejected":
            return DeliveredReports(receipt, [Doubt(REPORTS, "the server rejected the reports")])
        doubts, excused = _request_excuse(server, upload.run_id, receipt, excuse) if excuse else ([], [])
        return DeliveredReports(receipt, doubts, excused)


def attach(
    destination: Destination, upload: UploadOptions, receipt: JsonObject, files: Sequence[Path],
    options: AttachmentOptions, heartbeat: Heartbeat,
) -> None:  # fmt: skip
    """Upload the files that the reports name."""
    with _open(destination, upload, heartbeat) as server:
        upload_attachments(server, upload.run_id, receipt, files, options)


def _request_excuse(
    server: Server, run_id: str, receipt: Mapping[str, Any], excuse: StatedFailure
) -> tuple[list[Doubt], list[str]]:
    body = {"receipts": [receipt["id"]], **excuse._asdict()}
    try:
        answer = server.send("POST", f"{run_path(run_id)}/excuses", body)
    except ClientError as error:
        return [Doubt(SERVER, str(error))], []
    if answer["excused"] is not True:
        return [Doubt(reason["condition"], reason["text"]) for reason in answer["reasons"]], []
    return [], [_name(server, result) for result in answer["results"][:_MAX_NAMED]]


def _name(server: Server, result: Mapping[str, Any]) -> str:
    try:
        name = full_name(server.get(f"/results/{result['id']}"))
    except ClientError:
        name = result["id"]
    return f"{name} ({result['quarantine_id']})"
