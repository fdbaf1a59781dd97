"""`python -m tests.console.browser.screenshots FOLDER [PAGE…]` saves pages with the demo history in every setting.

With `--first-screen`, it saves only the part of a page that a window shows, as in docs/screenshots.
"""

import argparse
import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.async_api import Browser

from tests.console.browser.chromium import MISSING, SETTINGS, Setting, find_chromium, new_context, running_chromium
from tests.console.browser.demo_site import DemoSite, serving_demo
from tests.console.browser.pages import PAGES, PageCase
from tests.console.browser.sign_in import sign_in
from tests.databases import cloned_database
from tests.servers import PrivateServers


async def save_all(database_url: str, folder: Path, names: list[str], *, is_complete: bool) -> None:
    """Save the pages with these names, or all pages."""
    path = find_chromium()
    if path is None:
        sys.exit(MISSING)
    pages = [page for page in PAGES if not names or page.name in names]
    with TemporaryDirectory() as files:
        async with serving_demo(database_url, Path(files)) as site, running_chromium(path) as browser:
            for setting in SETTINGS:
                await save_setting(browser, site, setting, pages, folder, is_complete=is_complete)


async def save_setting(
    browser: Browser, site: DemoSite, setting: Setting, pages: list[PageCase], folder: Path, *, is_complete: bool
) -> None:
    """Save the pages in one setting, in full height or only the first screen."""
    async with new_context(browser, site.origin, setting) as context:
        page = await context.new_page()
        await sign_in(page, site.api.key)
        for case in pages:
            await page.goto(case.path(site))
            await page.screenshot(path=folder / f"{case.name}-{setting}.png", full_page=is_complete)


def main() -> None:
    """Start a private PostgreSQL, and save the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("pages", nargs="*", help="names in pages.py; default: all")
    parser.add_argument("--first-screen", action="store_true")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    servers = PrivateServers()
    try:
        with cloned_database(servers.postgres_url, servers.template) as database_url:
            asyncio.run(save_all(database_url, folder, arguments.pages, is_complete=not arguments.first_screen))
    finally:
        servers.close()


if __name__ == "__main__":
    main()
