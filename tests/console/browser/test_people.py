"""Two people with different roles, in two browsers, at a certified provider."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp.test_utils import unused_port
from playwright.async_api import Browser, Page, expect

from service.mutations import store as mutations_store
from tests.console.browser.chromium import new_context
from tests.console.browser.demo_site import origin_of
from tests.console.browser.page_checks import PageProblems
from tests.console.browser.sign_in import SIGN_IN
from tests.console.browser.streams import Streams
from tests.members import add_member
from tests.oidc.provider import OidcProvider, running_provider
from tests.run_events import result, run_event
from tests.served import Api, serve

RUNS = "/console/runs"
END_S = 5.0  # in which a removed member is signed out
SECRET = "secret of the console: 100 %"

pytestmark = pytest.mark.nightly


@pytest.fixture
def provider(browser: Browser, oidc_packages: Path) -> Iterator[OidcProvider]:
    with running_provider(oidc_packages) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def api(provider: OidcProvider, database_url: str) -> AsyncIterator[Api]:
    """A console with one run. Ada is an engineer by her group, and Grace a viewer by her email."""
    port = unused_port()
    origin = f"http://127.0.0.1:{port}"
    client = {
        "client_id": "results", "client_secret": SECRET,
        "redirect_uris": [f"{origin}{SIGN_IN}/callback"], "post_logout_redirect_uris": [f"{origin}{SIGN_IN}"],
    }  # fmt: skip
    provider.change(clients=[client], claims_in_id_token=False)
    oidc = {"oidc_issuer": provider.url, "oidc_client_id": "results", "oidc_client_secret": SECRET}
    settings = {**oidc, "oidc_scopes": "openid email profile groups", "issuer_allow_loopback": True}
    async with serve(database_url, public_url=origin, **settings) as served:
        await served.store.ingest(run_event("nightly-1", [result("pays", status="failed")]))
        await add_member(served, group="qa", role="engineer")
        await add_member(served, "grace@example.com", role="viewer")
        yield served


@asynccontextmanager
async def browsing(browser: Browser, api: Api) -> AsyncIterator[Page]:
    """A page of a browser of its own. Only navigations lead to the provider."""
    async with new_context(browser, origin_of(api)) as context:
        page = await context.new_page()
        problems = await PageProblems.collect(page, origin_of(api))
        with problems.expected(r"request to another origin|status of 40[134]|NAME_NOT_RESOLVED"):
            yield page
        problems.check()


async def sign_in(page: Page, account: str) -> None:
    await page.goto(f"{RUNS}?branch=")
    await page.get_by_role("link", name="Sign in with single sign-on").click()
    await page.get_by_label("Account").fill(account)
    await page.get_by_role("button", name="Continue").click()
    await page.wait_for_url(f"**{RUNS}**")


async def test_two_people_have_their_own_roles_and_sign_out_at_the_provider(
    browser: Browser, api: Api, provider: OidcProvider
) -> None:
    async with browsing(browser, api) as ada, browsing(browser, api) as grace:
        await sign_in(ada, "ada")
        await sign_in(grace, "grace")
        await expect(ada.locator(".account")).to_contain_text("engineer · Ada Lovelace")
        await expect(grace.locator(".account")).to_contain_text("viewer · Grace Hopper")
        await expect(ada.get_by_role("link", name="Exports")).to_be_visible()
        await expect(grace.get_by_role("link", name="Exports")).to_have_count(0)
        for page, status in ((ada, 200), (grace, 403)):
            response = await page.request.get("/console/quarantines/new")
            assert response.status == status
        await ada.goto("/console/quarantines/new?project_id=project-1")
        await ada.get_by_label("Name", exact=True).fill("pays")
        await ada.get_by_role("textbox", name="Reason").fill("unstable")
        await ada.get_by_role("button", name="Quarantine").click()
        await ada.wait_for_url("**/console/quarantines/qua_*")
        await expect(ada.locator("main")).to_contain_text("Ada Lovelace")
        person_id = await api.store.pool.fetchval("SELECT person_id FROM people WHERE name = 'Ada Lovelace'")
        assert await api.store.pool.fetchval("SELECT created_by FROM quarantines") == person_id
        async with api.store.pool.acquire() as connection:
            entries = await mutations_store.list_newest(connection, api.org_id, 10)
        assert entries[0]["actor"] == person_id
        await ada.get_by_role("button", name="Sign out").click()
        await expect(ada.get_by_role("heading")).to_contain_text("sign-out")  # the question of the provider
        assert ada.url.startswith(f"{provider.url}/session/end")
        await ada.get_by_role("button", name="Yes, sign me out").click()
        await ada.wait_for_url(f"**{SIGN_IN}**")
        await ada.get_by_role("link", name="Sign in with single sign-on").click()
        await expect(ada.get_by_label("Account")).to_be_visible()  # also signed out there
        await ada.get_by_role("button", name="Cancel").click()
        await expect(ada.get_by_role("alert")).to_contain_text("did not sign you in: access_denied")
        await grace.goto(RUNS)
        await expect(grace.locator(".account")).to_contain_text("Grace Hopper")


async def test_removed_person_is_signed_out_within_five_seconds(browser: Browser, api: Api) -> None:
    async with browsing(browser, api) as page:
        await sign_in(page, "grace")
        streams = await Streams.of(page)
        await page.goto(RUNS)
        await streams.wait(opened=1)
        await api.store.pool.execute("UPDATE members SET removed_at = now() WHERE email = 'grace@example.com'")
        removed_at = time.monotonic()
        await streams.wait(END_S, ended=1)
        await asyncio.sleep(max(0, removed_at + END_S - time.monotonic()))
        await page.wait_for_url(f"**{SIGN_IN}*")  # without any action of the person
        await page.get_by_role("link", name="Sign in with single sign-on").click()
        await expect(page.get_by_role("heading", name="No access")).to_be_visible()
        await expect(page.get_by_text("grace@example.com")).to_be_visible()
        await page.request.get(RUNS)


async def test_stopped_provider_leaves_the_sign_in_with_a_key(
    browser: Browser, api: Api, provider: OidcProvider
) -> None:
    provider.stop()
    async with new_context(browser, origin_of(api)) as context:
        page = await context.new_page()
        await page.goto(SIGN_IN)
        await page.get_by_role("link", name="Sign in with single sign-on").click()
        await expect(page.get_by_role("alert")).to_contain_text("The sign-in provider doesn't respond")
        await page.get_by_label("API key").fill(api.key)
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"**{RUNS}")
