"""Runs: the wait until a run is complete, and the completion of the run of a pipeline."""

import time
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple
from urllib.parse import quote

from service.client.http import JsonObject, Server, ServerError
from service.client.terminal import print_message

_MAX_WAIT_S: Final = 5  # of one request; then, the receipts are checked
_RECEIPTS_PAGE: Final = 1_000
_MAX_REASONS: Final = 3
_PAUSE_S: Final = 0.5
_UNFINISHED: Final = ("queued", "processing")


class AwaitedRun(NamedTuple):
    """A run at the end of a wait, or None if it doesn't exist. `problem` states why the run isn't complete."""

    run: JsonObject | None
    problem: str | None = None


def run_path(run_id: str) -> str:
    """Return the path of a run below /v1."""
    return f"/runs/{quote(run_id, safe='')}"


def wait_until_complete(server: Server, run_id: str, timeout_s: float, *, completes: bool = False) -> AwaitedRun:
    """Return the run when it is complete, or in its state at the end of the wait. Raises ServerError.

    With `completes`, the client completes the run as soon as its reports are stored. The wait ends early if the newest
    report of the run was rejected, because the run can't become complete without it.
    """
    deadline = time.monotonic() + timeout_s
    run: JsonObject | None = None
    is_first = True
    while True:
        remaining_s = max(0, deadline - time.monotonic())
        run = _get_run(server, run_id, 0 if is_first or completes else min(_MAX_WAIT_S, int(remaining_s))) or run
        if run and run["complete"]:
            return AwaitedRun(run)
        receipts = _list_receipts(server, run_id)
        if rejection := _find_rejection(receipts):
            return AwaitedRun(run, rejection)
        cause = ""
        if run and completes and not _are_waiting(receipts):
            completed = _complete(server, run_id)
            if isinstance(completed, dict):
                return AwaitedRun(completed)
            cause = f": {completed}"
        if remaining_s <= 0:
            return AwaitedRun(run, f"{_state(run)} after {timeout_s:g} s{cause}")
        if is_first:
            print_message(f"run {run_id} {_state(run)} yet; waiting for up to {remaining_s:.0f} s{cause}")
        else:
            time.sleep(min(_PAUSE_S, remaining_s))
        is_first = False


def report_warnings(server: Server, run_id: str) -> Iterator[str]:
    """Yield what the reports of the run can hide. A key that can't read receipts gets no warning."""
    receipts = _list_receipts(server, run_id)
    if rejected := [receipt["id"] for receipt in receipts if receipt["status"] == "rejected"]:
        yield f"reports of this run were rejected, so results can be missing: {', '.join(rejected)}"
    if replaced := sum(receipt["replaced_failing"] for receipt in receipts):
        yield (
            f"later reports of this run replaced failing results: {replaced}. If several jobs run the same tests, use"
            " --variant or --shard"
        )


def _get_run(server: Server, run_id: str, wait_s: int) -> JsonObject | None:
    try:
        run: JsonObject = server.get(run_path(run_id), {"wait": str(wait_s)})
    except ServerError as error:
        if error.code != "not_found":
            raise
        return None
    return run


def _list_receipts(server: Server, run_id: str) -> list[JsonObject]:
    """Return all receipts of the run, newest first. A key that can't read receipts finds none."""
    receipts: list[JsonObject] = []
    params = {"run_id": run_id, "limit": str(_RECEIPTS_PAGE)}
    try:
        while True:
            page = server.get("/receipts", params)
            receipts += page["data"]
            if not page["has_more"]:
                return receipts
            params["starting_after"] = page["next_cursor"]
    except ServerError as error:
        if error.code != "forbidden":
            raise
        return []


def _find_rejection(receipts: Sequence[JsonObject]) -> str | None:
    """Return why the newest report was rejected, or None."""
    if not receipts or receipts[0]["status"] != "rejected":
        return None
    reasons = "; ".join(problem["reason"] for problem in receipts[0]["problems"][:_MAX_REASONS])
    return f"isn't complete, because its report was rejected ({receipts[0]['id']}): {reasons}"


def _are_waiting(receipts: Sequence[JsonObject]) -> bool:
    return any(receipt["status"] in _UNFINISHED for receipt in receipts)


def _complete(server: Server, run_id: str) -> JsonObject | str:
    """Complete the run and return it, or the reason why the server rejects this: parts are missing."""
    try:
        run: JsonObject = server.post(f"{run_path(run_id)}/complete")
    except ServerError as error:
        if error.code != "conflict":
            raise
        return str(error)
    return run


def _state(run: JsonObject | None) -> str:
    return "isn't complete" if run else "doesn't exist"
