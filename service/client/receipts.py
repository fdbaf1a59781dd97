"""The receipts of a run, and those of a pipeline."""

import time
from collections.abc import Callable
from math import ceil
from typing import Final

from service.client.http import ClientError, JsonObject, Server, ServerError, read_list
from service.client.terminal import print_message
from service.domain.receipts import is_unfinished

_PAGE: Final = 1_000
_MAX_OF_PIPELINE: Final = 10_000
_WAIT_S: Final = 10  # of one request, and between two messages


def await_receipt(server: Server, receipt: JsonObject, wait_s: float) -> JsonObject:
    """Return the receipt after it is finished or the time is over. Prints that it waits. Raises ServerError."""
    start = time.monotonic()
    next_message_s = _WAIT_S
    while is_unfinished(receipt) and (remaining_s := wait_s - (waited_s := time.monotonic() - start)) > 0:
        if waited_s >= next_message_s:
            print_message(f"waiting until the report of {receipt['id']} is processed ({waited_s:.0f} s)")
            next_message_s += _WAIT_S
        receipt = server.get(f"/receipts/{receipt['id']}", {"wait": str(min(_WAIT_S, ceil(remaining_s)))})
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
