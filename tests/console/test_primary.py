"""Pages after a form read the primary: a read replica might not have the change yet."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.cases import pages as cases_pages
from service.exports import pages as exports_pages
from service.exports.operations import list_exports
from service.failures import pages as failures_pages
from service.failures.operations import find_failure
from tests.cases.test_pages import store_history
from tests.console.browsers import Browser
from tests.run_events import result
from tests.served import serve


@pytest.fixture
async def browser(database_url: str) -> AsyncIterator[Browser]:
    """A browser that is signed in at an API with a read replica, which is the same database."""
    async with serve(database_url, database_read_url=database_url) as api:
        browser = Browser(api)
        await browser.sign_in()
        yield browser


async def test_quarantine_of_a_case_is_read_from_the_primary(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    used = []

    async def find_none(pool: object, *_: object) -> None:
        used.append(pool)

    monkeypatch.setattr(cases_pages, "find_quarantine_of_case", find_none)
    await browser.open(await store_history(browser, result("pays")))
    assert used == [browser.api.resources.pool]


async def test_exports_are_read_from_the_primary(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    used = []

    async def find(pool: Any, *given: Any) -> Any:
        used.append(pool)
        return await list_exports(pool, *given)

    monkeypatch.setattr(exports_pages, "list_exports", find)
    await browser.open("/console/exports")
    assert used == [browser.api.resources.pool]


async def test_ticket_is_read_from_the_primary(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    used = []

    async def find(pool: Any, *given: Any) -> Any:
        used.append(pool)
        return await find_failure(pool, *given)

    await store_history(browser, result("pays", "failed", failure={"message": "cat is missing"}))
    [group] = (await browser.api.get("/v1/failures", {"run_id": "run_0"}))["data"]
    monkeypatch.setattr(failures_pages, "find_failure", find)
    await browser.open(f"/console/failures/{group['id']}")
    assert used == [browser.api.resources.pool]
