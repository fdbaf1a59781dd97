"""Pages of results with files."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.console.browsers import Browser
from tests.run_events import run_event
from tests.served import serve

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)


@asynccontextmanager
async def browsing_with_files(database_url: str, folder: Path) -> AsyncIterator[Browser]:
    """Serve the console with files in this folder, and yield a browser that is signed in."""
    async with serve(database_url, artifacts_url=folder.as_uri()) as api:
        browser = Browser(api)
        await browser.sign_in()
        yield browser


async def ingest(browser: Browser, *results: Any, run_id: str = "run_1", **run: Any) -> str:
    """Store a run, and return the path of the page of its first result."""
    await browser.api.store.ingest(run_event(run_id, list(results), **run))
    found = await browser.api.get("/v1/results", {"run_id": run_id, "sort": "suite"})
    return f"/console/results/{found['data'][0]['id']}"


async def attach(browser: Browser, page: str, name: str, content: bytes, content_type: str = "text/plain") -> str:
    """Upload an artifact, and return its path in the console."""
    artifact = await browser.api.attach(page.rpartition("/")[2], name, content, content_type)
    return f"/console/artifacts/{artifact['id']}"
