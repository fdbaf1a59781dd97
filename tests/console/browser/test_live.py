"""Live updates in the browser: data change without a reload, and only the tab in the foreground has a stream."""

import asyncio
from typing import Any

from playwright.async_api import Page, expect

from service.events.operations import number_events
from tests.console.browser.page_checks import PageProblems
from tests.console.browser.streams import Streams, hide, show
from tests.run_events import result, run_event
from tests.served import Api

RUNS = "/console/runs"
QUIET_S = 2.5  # more than the interval in which a page loads its data again


async def publish(api: Api, run_id: str, results: list[Any] | None = None, **fields: Any) -> None:
    await api.store.ingest(run_event(run_id, results, **fields))
    await number_events(api.store.pool)


async def open_live(page: Page, path: str) -> Streams:
    """Open a page, and wait for its stream."""
    streams = await Streams.of(page)
    await page.goto(path)
    await page.evaluate("window.isOriginalDocument = true")
    await streams.wait(opened=1)
    return streams


async def is_original_document(page: Page) -> bool:
    return bool(await page.evaluate("window.isOriginalDocument === true"))


async def test_run_appears_without_a_reload(live_page: Page, api: Api) -> None:
    problems = await PageProblems.collect(live_page, str(api.http.make_url("/")))
    await open_live(live_page, RUNS)
    await publish(api, "first-run")
    await expect(live_page.get_by_text("first-run").first).to_be_visible()
    await publish(api, "second-run")
    await expect(live_page.get_by_text("second-run").first).to_be_visible()
    assert await is_original_document(live_page)
    problems.check()


async def test_focus_and_scroll_position_stay_during_an_update(live_page: Page, api: Api) -> None:
    for number in range(15):
        await api.store.ingest(run_event(f"earlier-run-{number}"))
    await open_live(live_page, RUNS)
    link = live_page.locator("a[href$='earlier-run-3']")
    await link.focus()
    await live_page.evaluate("window.scrollTo(0, 200)")
    await publish(api, "new-run", completed_at="2026-05-21T12:00:00Z")
    await expect(live_page.get_by_text("new-run").first).to_be_attached()
    await expect(link).to_be_focused()
    assert await live_page.evaluate("window.scrollY") == 200


async def test_incomplete_run_is_updated_without_a_reload(live_page: Page, api: Api) -> None:
    problems = await PageProblems.collect(live_page, str(api.http.make_url("/")))
    await publish(api, "run-1", expected_shards=2, shard=1)
    streams = await open_live(live_page, f"{RUNS}/run-1")
    await expect(live_page.get_by_text("1 of 2 shards arrived. Shard 2 is missing.")).to_be_visible()
    await publish(api, "run-1", [result("breaks", "failed")], shard=2)
    await expect(live_page.get_by_role("heading", name="Failures 1")).to_be_visible()
    await expect(live_page.get_by_text("shards arrived")).to_be_hidden()
    await streams.wait(ended=1)
    await expect(live_page.get_by_text("Live", exact=True)).to_be_hidden()
    assert await is_original_document(live_page)
    problems.check()


async def send_report(api: Api) -> None:
    """Send a report of the run `run-1`, which no consumer processes."""
    report: dict[str, Any] = {"results": []}
    await api.send("POST", "/v1/runs/run-1/report?project_id=shop", json=report)


async def test_page_of_a_run_that_is_not_stored_shows_the_stored_run(live_page: Page, api: Api) -> None:
    await send_report(api)
    await live_page.goto(f"{RUNS}/run-1")
    await expect(live_page.get_by_text("The run isn't stored yet.")).to_be_visible()
    await publish(api, "run-1", [result("breaks", "failed")])
    await expect(live_page.get_by_role("heading", name="Failures 1")).to_be_visible()


async def test_page_of_a_run_that_is_not_stored_shows_a_rejected_report(live_page: Page, api: Api) -> None:
    await send_report(api)
    await live_page.goto(f"{RUNS}/run-1")
    await expect(live_page.get_by_text("The run isn't stored yet.")).to_be_visible()
    await live_page.evaluate("window.isOriginalDocument = true")
    await api.store.pool.execute("UPDATE receipts SET status = 'rejected'")
    await expect(live_page.get_by_text("Its reports were rejected.")).to_be_visible()
    assert await is_original_document(live_page)


async def test_hidden_tab_has_no_stream(live_page: Page, api: Api) -> None:
    streams = await open_live(live_page, RUNS)
    await hide(live_page)
    await streams.wait(ended=1)
    await publish(api, "missed-run")
    await asyncio.sleep(QUIET_S)
    assert await live_page.get_by_text("missed-run").count() == 0
    await show(live_page)
    await streams.wait(opened=2)
    await expect(live_page.get_by_text("missed-run").first).to_be_visible()
    assert await is_original_document(live_page)


async def test_tab_that_opens_in_the_background_has_no_stream(live_page: Page, api: Api) -> None:
    await live_page.add_init_script("Object.defineProperty(document, 'hidden', {configurable: true, get: () => true})")
    streams = await Streams.of(live_page)
    await live_page.goto(RUNS)
    await asyncio.sleep(1)
    assert streams.opened == 0
    await show(live_page)
    await streams.wait(opened=1)


async def test_interrupted_stream_is_opened_again(live_page: Page, api: Api) -> None:
    streams = await open_live(live_page, RUNS)
    await live_page.context.set_offline(True)
    await live_page.context.set_offline(False)
    await streams.wait(opened=1)
    await publish(api, "later-run")
    await expect(live_page.get_by_text("later-run").first).to_be_visible()


async def test_part_without_changes_is_not_replaced(live_page: Page, api: Api) -> None:
    await publish(api, "first-run", branch="main")
    await open_live(live_page, f"{RUNS}?branch=main")
    await expect(live_page.locator("[data-live-state]")).to_be_visible()
    await live_page.evaluate("document.querySelector('#runs').isOriginal = true")
    async with live_page.expect_response(lambda response: "branch=main" in response.url):
        await publish(api, "other-run", branch="other")
    assert await live_page.evaluate("document.querySelector('#runs').isOriginal")
    await publish(api, "second-run", branch="main")
    await expect(live_page.get_by_text("second-run").first).to_be_visible()


async def test_page_of_an_unfinished_run_updates_until_the_run_is_complete(live_page: Page, api: Api) -> None:
    await publish(api, "run_1", results=[result("pays")], expected_shards=2, shard=1)
    await open_live(live_page, f"{RUNS}/run_1")
    await expect(live_page.get_by_text("The run isn't complete")).to_be_visible()
    await publish(api, "run_1", results=[result("ships", "failed")], expected_shards=2, shard=2)
    await expect(live_page.get_by_text("ships").first).to_be_visible()
    await expect(live_page.get_by_text("The run isn't complete")).to_have_count(0)
    assert await is_original_document(live_page)


async def test_page_of_a_complete_run_has_no_stream(live_page: Page, api: Api) -> None:
    await publish(api, "run_1")
    streams = await Streams.of(live_page)
    await live_page.goto(f"{RUNS}/run_1")
    await asyncio.sleep(1)
    assert streams.opened == 0
