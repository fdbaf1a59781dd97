"""The console offers a role the forms that it can send, and no others."""

import re
from html import unescape
from urllib.parse import urldefrag, urlsplit

import pytest

from service.identity.keys.model import KEY_ROLES, KeyRole
from tests.console.browsers import RUNS, Browser
from tests.run_events import result, run_event

LINK = re.compile(r'<a [^>]*href="(/console/[^"]*)"')
FORM = re.compile(r'<form [^>]*method="post" action="([^"]*)"')
MAX_PAGES = 200
REFUSED = "is required; the role"


async def store(browser: Browser) -> None:
    """Store an object for each form."""
    api = browser.api
    failing = result("pays", "failed", failure={"message": "expected 200 got 503"})
    await api.store.ingest(run_event("run_1", [failing, result()]))
    for method, path, body in (
        ("PUT", "/v1/gates/release", {"policy": {"max_failures": 0}}),
        ("POST", "/v1/runs/run_1/decisions", {"gate": "release"}),
        ("POST", "/v1/quarantines", {"project_id": "shop", "name": "other", "reason": "outage"}),
        ("POST", "/v1/results/export", {"format": "csv"}),
    ):
        response = await api.send(method, path, json=body)
        assert response.status in (201, 202), await response.text()


async def sign_in(browser: Browser, role: KeyRole) -> None:
    browser.api.http.session.cookie_jar.clear()
    await browser.sign_in((await browser.api.make_key(role)).key)


async def find_forms(browser: Browser) -> set[str]:
    """Follow all links from the list of runs. Return the paths to which the pages send forms."""
    waiting, seen, forms = [RUNS], {RUNS}, set()
    while waiting:
        path = waiting.pop()
        response = await browser.send("GET", path)
        text = await response.text()
        assert response.status in (200, 303), (path, response.status, text)
        forms |= {urlsplit(unescape(action)).path for action in FORM.findall(text)}
        links = {urldefrag(unescape(link)).url for link in LINK.findall(text)} - seen
        waiting += sorted(links)
        seen |= links
        assert len(seen) <= MAX_PAGES, seen
    return forms


async def is_refused(browser: Browser, path: str) -> bool:
    """Return whether the role lacks the permission. Without the token, no form is accepted."""
    response = await browser.post(path, {})
    assert response.status == 403
    return REFUSED in await response.text()


@pytest.mark.nightly
async def test_pages_offer_a_role_exactly_the_forms_that_it_can_send(browser: Browser) -> None:
    await store(browser)
    await sign_in(browser, "admin")
    all_forms = await find_forms(browser)
    pages = {path.split("/")[2] for path in all_forms}
    assert pages >= {"runs", "decisions", "cases", "failures", "quarantines", "exports"}
    for role in KEY_ROLES:
        if role == "public":
            continue  # has no pages
        await sign_in(browser, role)
        permitted = {path for path in all_forms if not await is_refused(browser, path)}
        assert await find_forms(browser) == permitted, role
