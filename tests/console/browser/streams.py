"""The live streams of a page as the browser sees them, and the visibility of its tab."""

import asyncio
from typing import Any

from playwright.async_api import Page

_SHOW_OR_HIDE = """
(isHidden) => {
  const define = (name, value) => Object.defineProperty(document, name, {configurable: true, get: () => value});
  define("hidden", isHidden);
  define("visibilityState", isHidden ? "hidden" : "visible");
  document.dispatchEvent(new Event("visibilitychange"));
}
"""


class Streams:
    """Counts the streams that a page opened, and those that ended."""

    def __init__(self) -> None:
        self.opened = 0
        self.ended = 0
        self._ids: set[str] = set()

    @classmethod
    async def of(cls, page: Page) -> "Streams":
        """Count all further streams of the page."""
        streams = cls()
        session = await page.context.new_cdp_session(page)
        session.on("Network.responseReceived", streams._add)
        session.on("Network.loadingFinished", streams._end)
        session.on("Network.loadingFailed", streams._end)
        await session.send("Network.enable")
        return streams

    async def wait(self, timeout_s: float = 10, *, opened: int | None = None, ended: int | None = None) -> None:
        """Wait until this number of streams was opened or has ended. Raises TimeoutError."""

        def is_reached() -> bool:
            return self.opened >= (opened or 0) and self.ended >= (ended or 0)

        async with asyncio.timeout(timeout_s):
            while not is_reached():  # noqa: ASYNC110 - events of the browser set no event of asyncio
                await asyncio.sleep(0.02)

    def _add(self, event: dict[str, Any]) -> None:
        if event["response"]["mimeType"] == "text/event-stream":
            self.opened += 1
            self._ids.add(event["requestId"])

    def _end(self, event: dict[str, Any]) -> None:
        if event["requestId"] in self._ids:
            self._ids.remove(event["requestId"])
            self.ended += 1


async def hide(page: Page) -> None:
    """Report to the page that its tab is in the background."""
    await page.evaluate(_SHOW_OR_HIDE, True)


async def show(page: Page) -> None:
    """Report to the page that its tab is in the foreground again."""
    await page.evaluate(_SHOW_OR_HIDE, False)
