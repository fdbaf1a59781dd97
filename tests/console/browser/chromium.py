"""The Chromium of the machine, and the settings in which tests show each page."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Literal, NamedTuple

import pytest
from playwright.async_api import Browser, BrowserContext, StorageState, async_playwright

_PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome")
MISSING: Final = "Chromium not found: the console isn't tested in a browser. Run: sudo scripts/install-package chromium"
TIMEOUT_MS: Final = 10_000


class Setting(NamedTuple):
    """A window width and a color scheme."""

    width: int
    color_scheme: Literal["light", "dark"]

    def __str__(self) -> str:
        return f"{self.width}-{self.color_scheme}"


WIDE: Final = Setting(1280, "light")
SETTINGS: Final = (WIDE, Setting(1280, "dark"), Setting(360, "light"), Setting(360, "dark"))


def find_chromium() -> str | None:
    """Return the path of the browser, None if it isn't installed."""
    return next((path for program in _PROGRAMS if (path := shutil.which(program))), None)


@asynccontextmanager
async def running_chromium(path: str) -> AsyncIterator[Browser]:
    """Run a browser without a window."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def chromium_or_skip() -> AsyncIterator[Browser]:
    """Run a browser for tests, or skip them if it isn't installed."""
    path = find_chromium()
    if path is None:
        pytest.skip(MISSING)
    async with running_chromium(path) as browser:
        yield browser


@asynccontextmanager
async def new_context(
    browser: Browser,
    base_url: str,
    setting: Setting = WIDE,
    state: StorageState | None = None,
    *,
    bypass_csp: bool = False,
) -> AsyncIterator[BrowserContext]:
    """Open a context with its own cookies, initially those of `state`, and its own cache.

    With `bypass_csp`, the browser ignores the Content-Security-Policy of pages.
    """
    context = await browser.new_context(
        base_url=base_url,
        viewport={"width": setting.width, "height": 800},
        color_scheme=setting.color_scheme,
        locale="en-US",
        timezone_id="America/New_York",
        reduced_motion="reduce",
        storage_state=state,
        bypass_csp=bypass_csp,
    )
    context.set_default_timeout(TIMEOUT_MS)
    try:
        yield context
    finally:
        await context.close()
