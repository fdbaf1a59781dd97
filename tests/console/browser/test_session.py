"""Sessions in the browser: their end, and what pages of other sites and scripts can't do with them."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, Page, Route, expect

from tests.console.browser.chromium import new_context
from tests.console.browser.demo_site import origin_of
from tests.console.browser.sign_in import SIGN_IN, sign_in
from tests.console.browser.streams import Streams
from tests.served import Api

RUNS = "/console/runs"
END_S = 5.0  # in which a revoked or rotated key ends its sessions and streams
OTHER_SITE = "http://other.test"


@asynccontextmanager
async def signed_in(browser: Browser, api: Api, key: str) -> AsyncIterator[Page]:
    async with new_context(browser, origin_of(api)) as context:
        page = await context.new_page()
        await sign_in(page, key)
        yield page


@pytest.mark.parametrize(("method", "path"), [("DELETE", ""), ("POST", "/rotate")], ids=("revoked", "rotated"))
async def test_session_and_its_stream_end_with_the_secret(browser: Browser, api: Api, method: str, path: str) -> None:
    created = await api.make_key("viewer")
    async with signed_in(browser, api, created.key) as page:
        streams = await Streams.of(page)
        await page.goto(RUNS)
        await streams.wait(opened=1)
        response = await api.send(method, f"/v1/api-keys/{created.key_id}{path}")
        assert response.status in (200, 204)
        ended_at = time.monotonic()
        await streams.wait(END_S, ended=1)
        await asyncio.sleep(max(0, ended_at + END_S - time.monotonic()))
        other = await page.context.new_page()
        await other.goto(RUNS)
        assert SIGN_IN in other.url
        await page.wait_for_url(f"**{SIGN_IN}*")  # without any action of the user
    status = 200 if method == "POST" else 401  # a rotated secret still works for requests
    await api.get("/v1/runs", key=created.key, status=status)


async def test_page_after_sign_in_is_the_requested_one(browser: Browser, api: Api) -> None:
    async with new_context(browser, origin_of(api)) as context:
        page = await context.new_page()
        await page.goto(f"{RUNS}?branch=main")
        await page.get_by_label("API key").fill(api.key)
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"**{RUNS}?branch=main")


async def test_wrong_key_is_reported_at_its_field(browser: Browser, api: Api) -> None:
    async with new_context(browser, origin_of(api)) as context:
        page = await context.new_page()
        await page.goto(SIGN_IN)
        field = page.get_by_label("API key")
        await field.fill("zof_wrong")
        await page.keyboard.press("Enter")
        await expect(field).to_have_attribute("aria-invalid", "true")
        await expect(field).to_have_accessible_description(re.compile("Must be a complete API key"))
        await expect(field).to_have_value("")


async def test_signed_out_browser_shows_no_page_again(live_page: Page) -> None:
    await live_page.goto(RUNS)
    await live_page.get_by_role("button", name="Sign out").click()
    await live_page.wait_for_url(f"**{SIGN_IN}*")
    await live_page.go_back()
    await expect(live_page.get_by_label("API key")).to_be_visible()


async def test_page_of_another_site_cannot_sign_out(live_page: Page, api: Api) -> None:
    form = f'<form method="post" action="{origin_of(api)}/console/sign-out"><button>Send</button></form>'

    async def respond(route: Route) -> None:
        await route.fulfill(body=form, content_type="text/html")

    await live_page.route(f"{OTHER_SITE}/**", respond)
    await live_page.goto(OTHER_SITE)
    await live_page.get_by_role("button", name="Send").click()
    await live_page.wait_for_url(f"{origin_of(api)}/**")
    await live_page.goto(RUNS)
    await expect(live_page.get_by_role("button", name="Sign out")).to_be_attached()


async def test_scripts_cannot_read_the_session_or_use_it_under_v1(live_page: Page) -> None:
    await live_page.goto(RUNS)
    assert await live_page.evaluate("document.cookie") == ""
    assert await live_page.evaluate("fetch('/v1/runs').then((response) => response.status)") == 401
    assert "zof_" not in await live_page.content()


async def test_other_origins_cannot_show_the_console_in_a_frame(live_page: Page, api: Api) -> None:
    frames = "".join(f'<iframe src="{origin_of(api)}{path}"></iframe>' for path in ("/healthz", RUNS, SIGN_IN))

    async def respond(_: web.Request) -> web.Response:
        return web.Response(text=frames, content_type="text/html")

    other = web.Application()
    other.router.add_get("/", respond)
    async with TestServer(other) as server:  # Chromium blocks loopback frames of other hosts
        await live_page.goto(str(server.make_url("/")))
        shown = [frame.url for frame in live_page.main_frame.child_frames]
    assert shown == [f"{origin_of(api)}/healthz", *["chrome-error://chromewebdata/"] * 2]
