"""Tests that the differential run finds different items, and ignores where pages end."""

from collections.abc import Sequence
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from benchmarks.differential.requests import Request
from benchmarks.differential.walks import Comparison

LIST = Request("results", "/v1/results", [("limit", "2")], 5)
ITEMS = [{"id": number, "status": "passed"} for number in range(7)]


async def differences(old: Sequence[Any], new: Sequence[Any], sizes: tuple[int, int] = (2, 2)) -> list[str]:
    """Return what differs between two lists with these items and sizes of pages."""
    sides = zip((old, new), sizes, strict=True)
    async with (
        TestServer(api(*next(sides))) as old_api,
        TestServer(api(*next(sides))) as new_api,
        ClientSession() as session,
    ):
        comparison = Comparison(session, [str(each.make_url("")) for each in (old_api, new_api)])
        await comparison.compare(LIST, "key")
    return [difference.found.partition("\n")[0] for difference in comparison.differences]


def api(items: Sequence[Any], size: int) -> web.Application:
    """Return an API whose cursors are the numbers of the items before the page."""

    async def list_items(request: web.Request) -> web.Response:
        start = int(request.query.get("starting_after", 0))
        more = start + size < len(items)
        page = {"data": items[start : start + size], "next_cursor": str(start + size) if more else None}
        return web.json_response({**page, "has_more": more, "request_id": str(id(request))})

    app = web.Application()
    app.router.add_get("/v1/results", list_items)
    return app


async def test_equal_items_on_other_pages_are_no_difference() -> None:
    assert not await differences(ITEMS, ITEMS)
    assert not await differences(ITEMS, ITEMS, sizes=(2, 3))


@pytest.mark.parametrize(
    ("new", "found"),
    [
        (ITEMS[:-1], "items: 7 old and 6 new ones"),
        ([*ITEMS, ITEMS[0]], "items: 7 old and 8 new ones"),
        ([*ITEMS[:3], ITEMS[4], ITEMS[3], *ITEMS[5:]], "items: item 3 differs"),
        ([*ITEMS[:6], {"status": "passed", "id": 6}], "items: item 6 differs"),  # another order of the fields
        ([], "items: 7 old and 0 new ones"),
    ],
)
async def test_missing_additional_and_different_items_are_found(new: list[Any], found: str) -> None:
    assert found in await differences(ITEMS, new)
