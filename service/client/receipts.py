"""The receipts of a run, and the newest ones of all runs."""

from typing import Final

from service.client.http import JsonObject, Server, ServerError, read_list

_PAGE: Final = 1_000


def list_receipts(server: Server, run_id: str, *, required: bool = False) -> list[JsonObject]:
    """Return all receipts of the run, newest first. Raises ServerError.

    A key that can't read receipts finds none, unless they are required.
    """
    try:
        return read_list(server, "/receipts", {"run_id": run_id, "limit": str(_PAGE)})
    except ServerError as error:
        if required or error.code != "forbidden":
            raise
        return []


def list_newest_receipts(server: Server, *, required: bool = False) -> list[JsonObject]:
    """Return the newest receipts of all runs that the key can read. Raises ServerError like `list_receipts`."""
    try:
        receipts: list[JsonObject] = server.get("/receipts", {"limit": str(_PAGE)})["data"]
    except ServerError as error:
        if required or error.code != "forbidden":
            raise
        return []
    return receipts
