"""Cursors over HTTP: every list rejects the cursor of another list with the same error."""

from urllib.parse import quote

import pytest

from service.domain.cursors import CursorCodec, Cursors
from service.domain.ids import OrgId
from tests.run_events import result, run_event
from tests.served import Api

LISTS = (
    "/v1/results?", "/v1/runs?", "/v1/cases?project_id=shop&", "/v1/results/export?", "/v1/receipts?", "/v1/events?",
    "/v1/webhooks?", "/v1/api-keys?", "/v1/results/{result}/artifacts?", "/v1/cases/{case}/history?",
    "/v1/webhooks/{webhook}/deliveries?",
)  # fmt: skip
BYTES = CursorCodec[bytes](bytes, bytes)
FOREIGN = str(Cursors(BYTES, "another list", OrgId(1), {}).write(b"nowhere"))


@pytest.fixture
async def lists(api: Api) -> list[str]:
    """The URL of every list, up to its last parameter."""
    await api.store.ingest(run_event("run_1", [result("one")]))
    [one] = (await api.get("/v1/results"))["data"]
    hook = await (await api.send("POST", "/v1/webhooks", json={"url": "https://example.org/hook"})).json()
    return [address.format(result=one["id"], case=one["case"], webhook=hook["id"]) for address in LISTS]


async def test_every_list_rejects_other_cursors_with_the_same_error(api: Api, lists: list[str]) -> None:
    for address in lists:
        for cursor in ("", "AAAA", "a b", "é", "A" * 401, FOREIGN):
            error = await api.error(f"{address}starting_after={quote(cursor)}", 400)
            assert error == {
                "code": "invalid_request",
                "message": "starting_after: not a cursor of this list with these filters",
                "param": "starting_after",
            }


@pytest.mark.parametrize(
    ("path", "list_name"),
    [
        ("/v1/api-keys", "keys"),
        ("/v1/webhooks", "webhooks"),
        ("/v1/results/export", "exports"),
        ("/v1/receipts", "receipts"),
    ],
)
async def test_cursor_with_an_invalid_position_is_rejected(shared_api: Api, path: str, list_name: str) -> None:
    forged = Cursors(BYTES, list_name, OrgId(1), {}).write(b"\0nowhere")
    assert (await shared_api.error(path, 400, {"starting_after": str(forged)}))["param"] == "starting_after"


async def test_the_list_of_receipts_links_to_the_next_page(api: Api) -> None:
    for number in range(2):
        await api.store.ingest(run_event(f"run_{number}", [result("one")], id=f"evt_{number}"))
    response = await api.send("GET", "/v1/receipts", {"limit": "1"})
    assert (await response.json())["next_cursor"] in response.headers["Link"]
