"""The promotion of untrusted runs: a trusted job states the commit and the receipts of the reports of the fork."""

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from service.client.ci import earlier_run_id, untrusted_run_id
from service.client.http import ClientError, JsonObject, Server
from service.client.runs import await_receipt, find_run, format_counts, run_path
from service.client.selections import Selection
from service.client.servers import ServerKey, open_server, open_servers
from service.client.terminal import print_message, printable_line
from service.command_line import print_line
from service.receipts.model import is_unfinished

STORED: Final = 0
NOT_STORED: Final = 1

_RETRY_S: Final = 60
_RECEIPT: Final = re.compile(r"rcp_[0-9a-f]{32}", re.ASCII)
_MAX_FILE_BYTES: Final = 2**20  # the job of a fork has written the file


def read_receipts(ids: Sequence[str], files: Sequence[Path]) -> list[str]:
    """Return these receipts and those that the files list, one per line. Raises click.UsageError.

    A job of a fork has written the files, so they can contain anything.
    """
    listed = list(ids)
    for file in files:
        try:
            with file.open("rb") as opened:
                text = opened.read(_MAX_FILE_BYTES + 1)
        except OSError as error:
            raise click.UsageError(f"--receipts: {file} can't be read: {error.strerror}") from error
        if len(text) > _MAX_FILE_BYTES:
            raise click.UsageError(f"--receipts: {file} must have at most {_MAX_FILE_BYTES} bytes")
        listed += text.decode("ascii", "replace").split()
    if wrong := next((receipt_id for receipt_id in listed if not _RECEIPT.fullmatch(receipt_id)), None):
        raise click.UsageError(f"--receipt: {printable_line(wrong[:50])!r} must be rcp_ and 32 hexadecimal digits")
    if not listed:
        raise click.UsageError("--receipt: at least one is required. `report --untrusted` prints the ID of its receipt")
    return list(dict.fromkeys(listed))


def promote(
    url: str, key: ServerKey, selection: Selection, receipts: Sequence[str], promotion: JsonObject, wait_s: float
) -> int:
    """Promote the runs of the receipts, wait until their reports are stored, print the runs, and return the exit code.

    All receipts must belong to the selected run or pipeline. `promotion` is the body of the request without them: the
    commit, and, if they are known, the pull request and its target branch. Raises ClientError.
    """
    ends_at = time.monotonic() + wait_s
    if selection.run_id is not None:
        with open_server(url, key, _RETRY_S, selection.project) as server:
            return _promote_run(server, selection.run_id, receipts, promotion, ends_at)
    codes = [STORED]
    with open_servers(url, key, _RETRY_S, selection.project) as servers:
        for server, of_runs in _group_receipts(servers, receipts, selection):
            codes += [_promote_run(server, run_id, ids, promotion, ends_at) for run_id, ids in of_runs.items()]
    return max(codes)


def _group_receipts(
    servers: Sequence[Server], receipts: Sequence[str], selection: Selection
) -> list[tuple[Server, dict[str, list[str]]]]:
    """Return the receipts by their run. Raises ClientError if one of them isn't of an untrusted run of the pipeline.

    Anybody can send further runs that state the pipeline, so only the run IDs that our client computes from it count.
    """
    grouped: list[tuple[Server, dict[str, list[str]]]] = [(server, {}) for server in servers]
    for receipt_id in receipts:
        for server, of_runs in grouped:
            receipt = server.find(f"/receipts/{receipt_id}", {})
            if receipt is not None and _is_of_pipeline(receipt, selection):
                of_runs.setdefault(receipt["run_id"], []).append(receipt_id)
                break
        else:
            raise ClientError(
                f"receipt {receipt_id} isn't one of an untrusted run of the pipeline {selection.pipeline}"
            )
    return grouped


def _is_of_pipeline(receipt: Mapping[str, Any], selection: Selection) -> bool:
    start = untrusted_run_id(earlier_run_id(selection.pipeline or ""))
    return str(receipt["run_id"]).startswith((f"{start}:", f"{start}-"))


def _promote_run(server: Server, run_id: str, receipts: Sequence[str], promotion: JsonObject, ends_at: float) -> int:
    """Promote a run and wait for its reports. Return NOT_STORED if one of them isn't stored again."""
    server.post(f"{run_path(run_id)}/promote", {**promotion, "receipts": list(receipts)})
    code = STORED
    for receipt_id in receipts:
        receipt = server.get(f"/receipts/{receipt_id}")
        receipt = await_receipt(server, receipt, max(0, ends_at - time.monotonic()))
        if is_unfinished(receipt) or receipt["status"] == "rejected":
            reasons = ", ".join(problem["reason"] for problem in receipt["problems"]) or receipt["status"]
            print_message(f"Error: the report of {receipt_id} isn't stored: {printable_line(reasons)}")
            code = NOT_STORED
    run = find_run(server, run_id)
    if run is not None:
        print_line(printable_line(f"run {run_id} is trusted: {format_counts(run)}: {server.links.run(run_id)}"))
    return code
