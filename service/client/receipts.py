"""The receipts of a run, and the newest ones of all runs."""

import time
from collections.abc import Callable
from math import ceil
from typing import Final

from service.client.http import JsonObject, Server, ServerError, read_list
from service.domain.receipts import is_unfinished

_PAGE: Final = 1_000
_WAIT_S: Final = 20  # of one request


def await_receipt(server: Server, receipt: JsonObject, wait_s: float) -> JsonObject:
    """Return the receipt after it is finished or the time is over. Raises ServerError."""
    deadline = time.monotonic() + wait_s
    while is_unfinished(receipt) and (remaining_s := deadline - time.monotonic()) > 0:
        receipt = server.get(f"/receipts/{receipt['id']}", {"wait": str(min(_WAIT_S, ceil(remaining_s)))})
    return receipt


def list_receipts(server: Server, run_id: str, *, required: bool = False) -> list[JsonObject]:
    """Return all receipts of the run, newest first. Raises ServerError.

    A key that can't read receipts finds none, unless they are required.
    """
    return _read(lambda: read_list(server, "/receipts", {"run_id": run_id, "limit": str(_PAGE)}), required)


def list_newest_receipts(server: Server, *, required: bool = False) -> list[JsonObject]:
    """Return the newest receipts of all runs that the key can read. Raises ServerError like `list_receipts`."""
    return _read(lambda: server.get("/receipts", {"limit": str(_PAGE)})["data"], required)


def _read(read: Callable[[], list[JsonObject]], required: bool) -> list[JsonObject]:
    try:
        return read()
    except ServerError as error:
        if required or error.code != "forbidden":
            raise
        return []
