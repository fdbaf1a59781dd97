"""Keyboard shortcuts: rows, the search, pages, and the list of shortcuts."""

from playwright.async_api import Page

from tests.console.browser.demo_site import DemoSite
from tests.console.browser.page_checks import check_accessibility
from tests.console.browser.pages import PAGES, run_path

RUNS = "/console/runs"
LISTS = ("runs", "run-changes", "run-results", "tests", "health", "failure")
FILTERED = ("runs", "run-results", "tests", "health", "quarantines")


async def focused_href(page: Page) -> str | None:
    href: str | None = await page.evaluate("document.activeElement.getAttribute('href')")
    return href


async def focused_name(page: Page) -> str | None:
    name: str | None = await page.evaluate("document.activeElement.getAttribute('name')")
    return name


async def test_j_and_k_move_between_the_rows_of_a_list(page: Page, site: DemoSite) -> None:
    for case in [case for case in PAGES if case.name in LISTS]:
        await page.goto(case.path(site))
        seen = []
        for key in "jjk":
            await page.keyboard.press(key)
            seen.append(await focused_href(page))
        assert seen[0] == seen[2] != seen[1], case.name
        assert all(href and href.startswith("/console/") for href in seen), case.name


async def test_enter_opens_the_row(page: Page, site: DemoSite) -> None:
    await page.goto(RUNS)
    await page.keyboard.press("k")
    href = await focused_href(page)
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**{href}")


async def test_slash_goes_to_the_first_filter_in_which_keys_are_text(page: Page, site: DemoSite) -> None:
    for case in [case for case in PAGES if case.name in FILTERED]:
        await page.goto(case.path(site))
        await page.keyboard.press("/")
        field = await focused_name(page)
        assert field in ("q", "project_id"), case.name
        for key in "jk?/g":
            await page.keyboard.press(key)
        assert await focused_name(page) == field
        assert not await page.locator("dialog").is_visible()


async def test_g_and_a_letter_open_a_page(page: Page, site: DemoSite) -> None:
    await page.goto(RUNS)
    for key, path in (("t", "/console/tests"), ("h", "/console/health"), ("q", "/console/quarantines"), ("r", RUNS)):
        await page.keyboard.press("g")
        await page.keyboard.press(key)
        await page.wait_for_url(f"**{path}")


async def test_keys_with_modifiers_are_left_to_the_browser(page: Page, site: DemoSite) -> None:
    await page.goto(RUNS)
    for keys in ("Control+j", "Alt+k", "Meta+/"):
        await page.keyboard.press(keys)
    assert await page.evaluate("document.activeElement === document.body")


async def test_question_mark_lists_the_shortcuts_which_can_be_turned_off(page: Page, site: DemoSite) -> None:
    await page.goto(run_path(site.run_id))
    await page.keyboard.press("?")
    await page.get_by_role("dialog", name="Keyboard shortcuts").wait_for()
    await check_accessibility(page)
    await page.get_by_label("Use these shortcuts").uncheck()
    await page.keyboard.press("Escape")
    await page.keyboard.press("?")
    assert not await page.locator("dialog").is_visible()
    await page.reload()
    await page.keyboard.press("j")
    assert await page.evaluate("document.activeElement === document.body")
    await page.get_by_role("button", name="Keyboard shortcuts").click()
    await page.get_by_label("Use these shortcuts").check()
    await page.get_by_role("button", name="Close").click()
    await page.keyboard.press("j")
    assert await page.evaluate("document.activeElement.localName") == "a"
