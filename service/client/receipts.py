"""The receipts of a run."""

from typing import Final

from service.client.http import JsonObject, Server, ServerError

_PAGE: Final = 1_000


def list_receipts(server: Server, run_id: str, *, required: bool = False) -> list[JsonObject]:
    """Return all receipts of the run, newest first. Raises ServerError.

    A key that can't read receipts finds none, unless they are required.
    """
    receipts: list[JsonObject] = []
    params = {"run_id": run_id, "limit": str(_PAGE)}
    try:
        while True:
            page = server.get("/receipts", params)
            receipts += page["data"]
            if not page["has_more"]:
                return receipts
            params["starting_after"] = page["next_cursor"]
    except ServerError as error:
        if required or error.code != "forbidden":
            raise
        return []
