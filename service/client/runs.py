"""The runs of a server: the wait until they are complete, and their receipts."""

import time
from collections.abc import Callable
from math import ceil
from typing import Final, NamedTuple
from urllib.parse import quote

from service.client.http import ClientError, JsonObject, Server, ServerError, read_list
from service.client.terminal import print_message, printable_line
from service.command_line import print_line
from service.comparison.model import describe_missing_parts
from service.receipts.model import describe_missing, describe_replacement, is_unfinished
from service.runs.model import describe_expected

INCOMPLETE: Final = 2  # the exit code of a command that needs a complete run

_PAGE: Final = 1_000
_MAX_OF_PIPELINE: Final = 10_000
_MESSAGE_S: Final = 10  # between two messages about a wait for a receipt
_REQUEST_WAIT_S: Final = 5  # of one request for a run or a receipt; then, the receipts of a run are checked
_PAUSE_S: Final = 0.5


class Deadline(NamedTuple):
    """The end of a wait, in the time of `time.monotonic`, and its length, which messages state."""

    timeout_s: float
    ends_at: float

    @classmethod
    def after(cls, timeout_s: float) -> "Deadline":
        """Return the deadline of a wait that starts now."""
        return cls(timeout_s, time.monotonic() + timeout_s)

    @property
    def remaining_s(self) -> float:
        """The remaining time of the wait, at least 0."""
        return max(0, self.ends_at - time.monotonic())


class AwaitedRun(NamedTuple):
    """A run at the end of a wait. `run` is None if it doesn't exist. `problem` states why the run can't be used, in one
    or more lines.

    `is_error` is true if a request about the run failed, and false if the run isn't complete or lacks a report.
    """

    run_id: str
    run: JsonObject | None
    problem: str | None = None
    is_error: bool = False


def run_path(run_id: str) -> str:
    """Return the path of a run below /v1."""
    return f"/runs/{quote(run_id, safe='')}"


def format_counts(run: JsonObject) -> str:
    """Return the numbers of results by status, such as `12 passed (2 flaky), 1 failed`."""
    counts = run["counts"]
    flaky = f" ({counts['flaky']} flaky)" if counts["flaky"] else ""
    shown = {name: count for name, count in counts.items() if count and name != "flaky"}
    counted = [f"{count} {name}{flaky if name == 'passed' else ''}" for name, count in shown.items()]
    return ", ".join(counted) or "no results"


def await_run(server: Server, run_id: str, deadline: Deadline, *, completes: bool = False) -> AwaitedRun:
    """Return the run when it is complete, or with the problem at the end of the wait. Raises ServerError.

    With `completes`, the client completes the run of a pipeline as soon as its reports are processed. The wait ends
    early if a report was rejected and not replaced, because its results are missing.
    """
    run: JsonObject | None = None
    is_first = True
    while True:
        remaining_s = deadline.remaining_s
        run = find_run(server, run_id, 0 if is_first or completes else min(_REQUEST_WAIT_S, int(remaining_s))) or run
        if run and run["complete"] and not completes:
            return AwaitedRun(run_id, run)
        receipts = list_receipts(server, run_id, required=completes)
        if missing := describe_missing(receipts):
            return AwaitedRun(run_id, run, f"lacks results: {missing}.\n{describe_replacement(receipts)}")
        is_processing = any(map(is_unfinished, receipts))
        cause = ""
        if run and completes and not is_processing:
            completed = run if run["complete"] else _complete(server, run_id)
            if isinstance(completed, dict):
                return AwaitedRun(run_id, completed)
            cause = f": {completed}"
        state = "has reports that aren't processed" if is_processing else _state(run)
        if remaining_s <= 0:
            if run and not (cause or is_processing):
                cause = _describe_lacking(server, run)
            to_check = f". {server.readiness_url} shows whether a consumer of reports runs" if is_processing else ""
            return AwaitedRun(run_id, run, f"{state} after {deadline.timeout_s:g} s{cause}{to_check}")
        if is_first:
            print_message(f"run {run_id} {state} yet; waiting for up to {remaining_s:.0f} s{cause}")
        else:
            time.sleep(min(_PAUSE_S, remaining_s))
        is_first = False


def find_run(server: Server, run_id: str, wait_s: int = 0) -> JsonObject | None:
    """Return the run, or None if it doesn't exist. Waits until it is complete. Raises ServerError."""
    return server.find(run_path(run_id), {"wait": str(wait_s)})


def _state(run: JsonObject | None) -> str:
    return "doesn't exist" if run is None else "isn't complete"


def _complete(server: Server, run_id: str) -> JsonObject | str:
    """Complete the run and return it, or the reason why the server rejects this: parts are missing."""
    try:
        run: JsonObject = server.post(f"{run_path(run_id)}/complete")
    except ServerError as error:
        if error.code != "conflict":
            raise
        return str(error)
    return run


def _describe_lacking(server: Server, run: JsonObject) -> str:
    """Return which shards, results, or jobs an incomplete run lacks, or an empty text if this is unknown."""
    counts, parts = run["counts"], run.get("parts") or ()
    shards = {part["shard"] for part in parts if part["shard"]}
    results = sum(counts.values()) - counts["flaky"]
    expected = run["expected_shards"] if parts else None  # a run that an earlier version stored has no parts
    lacking = describe_expected(expected, shards, run["expected_results"], results)
    if lacking is None and not run.get("results_expired"):
        comparison = server.find(f"{run_path(run['run_id'])}/comparison", {"limit": "1"}) or {}
        lacking = describe_missing_parts(comparison.get("missing_parts") or (), parts)
    return f": {lacking}" if lacking else ""


def print_problem(awaited: AwaitedRun) -> None:
    """Print why a run can't be used, on stderr: each rejected report on a line of its own."""
    first, *details = f"run {printable_line(awaited.run_id)} {awaited.problem}".split("\n")
    print_line(printable_line(first), err=True, bold=True, fg="yellow")
    for line in details:
        print_line(f"  {printable_line(line)}", err=True)
    if awaited.run:
        print_message(format_counts(awaited.run))


def await_receipt(server: Server, receipt: JsonObject, wait_s: float) -> JsonObject:
    """Return the receipt after it is finished or the time is over. Prints that it waits. Raises ServerError."""
    start = time.monotonic()
    next_message_s = _MESSAGE_S
    while is_unfinished(receipt) and (remaining_s := wait_s - (waited_s := time.monotonic() - start)) > 0:
        if waited_s >= next_message_s:
            print_message(f"waiting until the report of {receipt['id']} is processed ({waited_s:.0f} s)")
            next_message_s += _MESSAGE_S
        receipt = server.get(f"/receipts/{receipt['id']}", {"wait": str(min(_REQUEST_WAIT_S, ceil(remaining_s)))})
    return receipt


def list_receipts(server: Server, run_id: str, *, required: bool = False) -> list[JsonObject]:
    """Return all receipts of the run, newest first. Raises ServerError.

    A key that can't read receipts finds none, unless they are required.
    """
    return _read(lambda: read_list(server, "/receipts", {"run_id": run_id, "limit": str(_PAGE)}), required)


def list_receipts_of_pipeline(server: Server, pipeline: str, *, required: bool = False) -> list[JsonObject]:
    """Return all receipts that state the pipeline and that the key can read. Raises ServerError like `list_receipts`.

    Raises ClientError if there are too many, because an incomplete list could lack a rejected report.
    """
    params = {"pipeline": pipeline, "limit": str(_PAGE)}
    receipts = _read(lambda: read_list(server, "/receipts", params, stop_after=_MAX_OF_PIPELINE), required)
    if len(receipts) > _MAX_OF_PIPELINE:
        raise ClientError(f"pipeline {pipeline} has more than {_MAX_OF_PIPELINE:,} reports. Use --run-id for each run")
    return receipts


def _read(read: Callable[[], list[JsonObject]], required: bool) -> list[JsonObject]:
    try:
        return read()
    except ServerError as error:
        if required or error.code != "forbidden":
            raise
        return []
