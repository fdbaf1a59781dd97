"""The checks of this folder detect the defects for which they exist. The pages are served without a network."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route

from tests.console.browser.chromium import WIDE, new_context
from tests.console.browser.page_checks import (
    PageProblems,
    Transfer,
    check_accessibility,
    check_keyboard,
    check_layout,
    check_outline,
    check_texts,
)

ORIGIN = "http://console.test"
POLICY = "default-src 'none'; style-src 'self'; script-src 'self'"
PAGE = """<!doctype html><html lang="en"><head><title>Runs</title></head>
<body><main><h1>Runs</h1><a href="/next">Next</a> <button>Filter</button>{}</main></body></html>"""


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    async with new_context(browser, ORIGIN, WIDE) as context:
        yield await context.new_page()


async def show(page: Page, body: str = "", document: str = PAGE) -> PageProblems:
    """Open a page with this body, and return its problems."""

    async def respond(route: Route) -> None:
        headers = {"Content-Security-Policy": POLICY, "Content-Type": "text/html"}
        await route.fulfill(body=document.replace("{}", body), headers=headers)

    problems = await PageProblems.collect(page, ORIGIN)
    await page.route("**/*", respond)
    await page.goto("/")
    return problems


async def test_page_without_defects_passes_every_check(page: Page) -> None:
    problems = await show(page)
    await check_outline(page)
    await check_layout(page)
    await check_accessibility(page)
    await check_keyboard(page)
    problems.check()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("<script>window.x = 1</script>", "CSP violation of script-src-elem: inline"),
        ('<p style="color: red">text</p>', "CSP violation of style-src-attr: inline"),
        ('<img alt="" src="https://other.test/x.png">', "request to another origin: GET https://other.test/x.png"),
        ('<a href="javascript:window.x = 1" autofocus>x</a>', "the JavaScript URL violates"),
    ],
    ids=("script", "style", "origin", "javascript-url"),
)
async def test_violation_is_a_problem(page: Page, body: str, message: str) -> None:
    problems = await show(page, body)
    for link in await page.locator("a[autofocus]").all():
        await link.click()
    with pytest.raises(AssertionError, match=message):
        problems.check()


async def test_expected_problem_is_ignored(page: Page) -> None:
    problems = await show(page)
    with problems.expected("on purpose"):
        await page.evaluate("console.error('on purpose')")
    problems.check()
    with pytest.raises(AssertionError, match="no problem matches"), problems.expected("on purpose"):
        await page.title()


async def test_missing_label_violates_accessibility(page: Page) -> None:
    await show(page, "<input>")
    with pytest.raises(AssertionError, match="label"):
        await check_accessibility(page)


async def test_wide_element_makes_the_page_too_wide(page: Page) -> None:
    await show(page, f"<pre>{'long_text' * 200}</pre>")
    with pytest.raises(AssertionError, match=r"px too wide:\n(.*\n)*<pre"):
        await check_layout(page)


async def test_second_heading_is_found(page: Page) -> None:
    await show(page, "<h1>Also</h1>")
    with pytest.raises(AssertionError, match="Also"):
        await check_outline(page)


async def test_control_that_the_keyboard_skips_or_does_not_mark_is_found(page: Page) -> None:
    await show(page, '<div tabindex="0">reached</div>')
    await check_keyboard(page)
    await page.evaluate("document.querySelector('a').addEventListener('focus', (event) => event.target.blur())")
    with pytest.raises(AssertionError, match="not reached"):
        await check_keyboard(page)
    await show(page)
    await page.evaluate("document.querySelector('a').addEventListener('focus', (event) => event.target.hidden = true)")
    with pytest.raises(AssertionError, match=r"not reached|without a visible focus"):
        await check_keyboard(page)


async def test_transfer_contains_the_document(page: Page) -> None:
    transfer = await Transfer.measure(page)
    await show(page, "x" * 5_000)
    assert transfer.bytes > 5_000


@pytest.mark.parametrize(
    "body",
    [
        '<select aria-label="x" name="x"><option>results of the shop</option></select>',
        '<input aria-label="x" name="x" placeholder="Words of the suite or name">',
    ],
    ids=("option", "placeholder"),
)
async def test_truncated_text_of_a_field_is_found(page: Page, body: str) -> None:
    await show(page, body)
    await page.evaluate("document.querySelector('[name=x]').style.width = '300px'")
    await check_texts(page)
    await page.evaluate("document.querySelector('[name=x]').style.width = '90px'")
    with pytest.raises(AssertionError, match="field x: "):
        await check_texts(page)


async def test_heading_that_breaks_within_a_word_is_found(page: Page) -> None:
    await show(page)
    await page.evaluate("document.querySelector('h1').style.cssText = 'width: 30px; overflow-wrap: anywhere'")
    with pytest.raises(AssertionError, match="word: Runs"):
        await check_texts(page)
