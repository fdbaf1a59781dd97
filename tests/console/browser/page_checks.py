"""Checks of a page in the browser: problems that the browser reports, accessibility, layout, and the keyboard."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import ConsoleMessage, Page, Request, Response
from playwright.async_api import Error as BrowserError

_LOCAL_SCHEMES: Final = ("data:", "blob:", "about:")
_REPORT_CSP_VIOLATIONS: Final = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`CSP violation of ${event.violatedDirective}: ${event.blockedURI} ${event.sample}`);
});
"""
# The elements that the Tab key must reach. A group of radio buttons needs only one Tab.
_FIND_CONTROLS: Final = """
() => {
  const selector = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']";
  window.testedControls = [...document.querySelectorAll(selector)].filter((element) =>
    !element.disabled && element.tabIndex >= 0 && element.checkVisibility({visibilityProperty: true})
    && !(element.type === "radio" && !element.checked));
  document.activeElement?.blur();
  return window.testedControls.map((element) => element.outerHTML.slice(0, 120));
}
"""
_DESCRIBE_FOCUS: Final = """
() => {
  const element = document.activeElement;
  const style = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  return {
    position: window.testedControls.indexOf(element),
    isMarked: (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none",
    isVisible: box.width > 0 && box.height > 0 && box.bottom > 0 && box.top < innerHeight,
    html: element.outerHTML.slice(0, 120),
  };
}
"""
_MEASURE_WIDTH: Final = """
() => {
  const page = document.documentElement;
  const tooWide = [...document.querySelectorAll("body *")]
    .filter((element) => element.getBoundingClientRect().left + element.scrollWidth > page.clientWidth + 1);
  return {
    excess: page.scrollWidth - page.clientWidth,
    elements: tooWide.slice(0, 5).map((element) => element.outerHTML.slice(0, 160)),
  };
}
"""
# Fields get their natural width briefly. `<wbr>` separates words. Long words in a table can break, such as IDs.
_FIND_TRUNCATED_TEXTS: Final = """
() => {
  const truncated = [];
  for (const field of document.querySelectorAll("select, input:placeholder-shown")) {
    const width = field.getBoundingClientRect().width;
    const style = field.style.cssText;
    field.style.cssText = "field-sizing: content; width: max-content; max-width: none; position: absolute";
    if (field.checkVisibility() && field.getBoundingClientRect().width > width + 1) {
      truncated.push(`field ${field.name}: ${field.value || field.placeholder}`);
    }
    field.style.cssText = style;
  }
  const texts = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!element.closest("h1, td") || !element.checkVisibility()) continue;
    for (const word of texts.currentNode.data.matchAll(/[\\p{L}\\p{N}]+/gu)) {
      if (word[0].length > 12 && !element.closest("h1")) continue;
      const range = document.createRange();
      range.setStart(texts.currentNode, word.index);
      range.setEnd(texts.currentNode, word.index + word[0].length);
      if (new Set([...range.getClientRects()].map((box) => box.top)).size > 1) truncated.push(`word: ${word[0]}`);
    }
  }
  return truncated;
}
"""
_MORE_TABS: Final = 20  # of the browser itself, and scrollable regions


class PageProblems:
    """The problems that the browser reports for a page: errors, CSP violations, and requests to another origin."""

    def __init__(self, page: Page, origin: str) -> None:
        self._origin = origin.rstrip("/")
        self._problems: list[str] = []
        page.on("console", self._add_message)
        page.on("pageerror", self._add_error)
        page.on("request", self._add_request)
        page.on("response", self._add_response)

    @classmethod
    async def collect(cls, page: Page, origin: str) -> "PageProblems":
        """Collect the problems of all further documents of the page."""
        await page.add_init_script(_REPORT_CSP_VIOLATIONS)
        return cls(page, origin)

    def check(self) -> None:
        """Fail if the browser reported a problem."""
        assert not self._problems, "\n".join(self._problems)

    @contextmanager
    def expected(self, pattern: str) -> Iterator[None]:
        """Ignore the problems that match the pattern. At least one is required."""
        known = len(self._problems)
        yield
        added = self._problems[known:]
        others = [problem for problem in added if not re.search(pattern, problem)]
        assert len(others) < len(added), f"no problem matches {pattern}"
        self._problems[known:] = others

    def _add_message(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._problems.append(f"console {message.type}: {message.text}")

    def _add_error(self, error: BrowserError) -> None:
        self._problems.append(f"uncaught error: {error}")

    def _add_request(self, request: Request) -> None:
        if not request.url.startswith((f"{self._origin}/", *_LOCAL_SCHEMES)):
            self._problems.append(f"request to another origin: {request.method} {request.url}")

    def _add_response(self, response: Response) -> None:
        if response.status >= 500:
            self._problems.append(f"{response.request.method} {response.url} returns {response.status}")


async def check_accessibility(page: Page) -> None:
    """Fail if axe-core finds a violation."""
    results = await Axe().run(page)
    assert results.violations_count == 0, results.generate_report()


async def check_layout(page: Page) -> None:
    """Fail if the page scrolls horizontally."""
    width = await page.evaluate(_MEASURE_WIDTH)
    assert width["excess"] <= 0, "\n".join([f"the page is {width['excess']} px too wide:", *width["elements"]])


async def check_texts(page: Page) -> None:
    """Fail if an option or a placeholder is truncated, or if a word of the main heading or of a table breaks."""
    truncated = await page.evaluate(_FIND_TRUNCATED_TEXTS)
    assert not truncated, "\n".join([f"truncated on {page.url}:", *truncated])


async def check_outline(page: Page) -> None:
    """Fail if the page has no title, no language, or not exactly one main heading."""
    assert (await page.title()).strip()
    assert await page.locator("html").get_attribute("lang") == "en"
    headings = await page.locator("h1").all_inner_texts()
    assert len(headings) == 1, headings
    assert headings[0].strip()
    assert await page.locator("main").count() == 1


async def check_keyboard(page: Page) -> None:
    """Fail if the Tab key doesn't reach every control, or if a control with the focus isn't visible and marked."""
    controls: list[str] = await page.evaluate(_FIND_CONTROLS)
    reached: set[int] = set()
    unmarked: list[str] = []
    for _ in range(len(controls) + _MORE_TABS):
        await page.keyboard.press("Tab")
        focus: dict[str, Any] = await page.evaluate(_DESCRIBE_FOCUS)
        if focus["position"] >= 0:
            reached.add(focus["position"])
            unmarked += [] if focus["isMarked"] and focus["isVisible"] else [focus["html"]]
        if len(reached) == len(controls):
            break
    missed = [html for position, html in enumerate(controls) if position not in reached]
    assert not missed, "not reached with the Tab key:\n" + "\n".join(missed)
    assert not unmarked, "without a visible focus:\n" + "\n".join(unmarked)


class Transfer:
    """The bytes that the browser receives for a page: the document and all its files, with headers."""

    def __init__(self) -> None:
        self.bytes = 0

    @classmethod
    async def measure(cls, page: Page) -> "Transfer":
        """Count the bytes of all further responses, with an empty cache. Streams count when they end."""
        transfer = cls()
        session = await page.context.new_cdp_session(page)
        session.on("Network.loadingFinished", transfer._add)
        await session.send("Network.enable")
        await session.send("Network.clearBrowserCache")
        return transfer

    def _add(self, event: dict[str, Any]) -> None:
        self.bytes += int(event["encodedDataLength"])
