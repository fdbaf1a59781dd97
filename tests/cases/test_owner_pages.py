"""The pages of owners: the list, one owner with its cases since when, and the links from and to other pages."""

from datetime import UTC, datetime
from urllib.parse import quote

import pytest

from service.cases import owner_pages
from tests.case_states import day_of_runs, update_states
from tests.console.browsers import Browser
from tests.console.sections import main_text, section, section_html
from tests.owners import set_owners
from tests.run_events import result, run_event

OWNERS = "/console/owners?project_id=shop"
WEB = f"{OWNERS}&owner={quote('@acme/web')}"
HISTORIES = {"pays": 25 * "p" + "fff", "buys": 26 * "p" + "ff", "ships": "F" + 13 * "pF" + "p", "logs in": 28 * "p"}


@pytest.fixture
async def owned(signed_in: Browser) -> Browser:
    await store_owned(signed_in)
    return signed_in


async def store_owned(browser: Browser) -> None:
    """Store a project with two broken cases, a flaky one, and a healthy one that is the slowest."""
    api = browser.api
    *runs, newest = day_of_runs(0, HISTORIES)
    newest["data"]["results"] = [{**each, "duration_ms": 10 * len(each["name"])} for each in newest["data"]["results"]]
    await api.store.ingest(*runs, newest, *day_of_runs(1, {"posts": 3 * "f"}, project_id="blog"))
    await update_states(api.store.pool)
    await set_owners(
        api.store.pool, {"c.name <> 'logs in'": ["@acme/web"], "c.name = 'logs in'": ["core", "@acme/web"]}
    )


async def test_list_has_the_owners_with_links_to_their_cases(owned: Browser) -> None:
    page = await owned.open(OWNERS)
    assert section(page, "owners") == (
        "Owner Cases Broken Flaky @acme/web 4 2 1 core 1 0 0"
        " Broken and flaky on the default branch. A case can have several owners."
    )
    for link in (
        f"/console/owners?project_id=shop&amp;owner={quote('@acme/web', safe='')}",
        f"/console/tests?project_id=shop&amp;owner={quote('@acme/web', safe='')}&amp;state=broken",
    ):
        assert f'href="{link}"' in page, link


async def test_owner_has_its_cases_with_the_run_and_time_of_their_states(owned: Browser) -> None:
    page = await owned.open(WEB)
    assert "@acme/web Cases 4 Broken 2 Flaky 1 Quarantined 0" in main_text(page)
    broken = section(page, "broken")
    assert broken.startswith("Broken cases 2 buys auth.login Since d0-26 , 2026-05-01 00:26 UTC pays auth.login")
    assert "Since d0-25 , 2026-05-01 00:25 UTC" in broken
    assert 'href="/console/runs/d0-25"' in section_html(page, "broken")
    assert "ships" in section(page, "flaky")
    assert section(page, "slowest").startswith("Slowest cases logs in 70ms auth.login ships 50ms auth.login")


async def test_owner_has_the_quarantines_of_its_cases(owned: Browser) -> None:
    api = owned.api
    ids = {case["name"]: case["id"] for case in (await api.get("/v1/cases", {"project_id": "shop"}))["data"]}
    for body in (
        {"case": ids["pays"], "reason": "repaired on Monday"},
        {"case": ids["logs in"], "reason": "unknown"},
        {"project_id": "shop", "name": "ships*", "reason": "several"},
    ):
        assert (await api.send("POST", "/v1/quarantines", json=body)).status == 201
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    found = section(await owned.open(WEB), "quarantined")
    assert found.startswith("Quarantined cases 2")
    assert f"pays Expires in 13 days Since {today}" in found
    assert "repaired on Monday" in found
    assert "several cases aren't listed" in found
    core = section(await owned.open(f"{OWNERS}&owner=core"), "quarantined")
    assert ("logs in" in core, "pays" in core) == (True, False)
    ended = (await api.get("/v1/quarantines", {"case": ids["pays"]}))["data"][0]["id"]
    assert (await api.send("DELETE", f"/v1/quarantines/{ended}")).status == 204
    assert section(await owned.open(WEB), "quarantined").startswith("Quarantined cases 1")


async def test_long_lists_link_to_all_cases(owned: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner_pages, "_CASES", 1)
    monkeypatch.setattr(owner_pages, "_OWNERS", "1")
    page = await owned.open(WEB)
    assert "Show all 2" in section(page, "broken")
    assert "Show all" not in section(page, "flaky")
    first = await owned.open(OWNERS)
    assert "core" not in section(first, "owners")
    assert 'rel="next"' in first


async def test_pages_without_owners_state_what_to_do(signed_in: Browser) -> None:
    assert "No runs yet" in main_text(await signed_in.open("/console/owners"))
    await signed_in.api.store.ingest(run_event("a", [result("pays")]))
    page = await signed_in.open("/console/owners")
    assert "CODEOWNERS" in section(page, "owners")
    assert "--owners" in section(page, "owners")
    unknown = main_text(await signed_in.open(f"{OWNERS}&owner=nothing"))
    assert "No cases of nothing" in unknown
    assert "Owner: must have at most 100" in main_text(await signed_in.open(f"{OWNERS}&owner={'x' * 101}", 400))


async def test_owner_of_another_project_is_hidden(browser: Browser) -> None:
    await store_owned(browser)
    await browser.sign_in((await browser.api.make_key(project_id="blog")).key)
    assert "No cases of core" in main_text(await browser.open(f"{OWNERS}&owner=core"))
    assert "No owners" in section(await browser.open(OWNERS), "owners")
    assert "@acme/web" in section(await browser.open("/console/owners"), "owners")


async def test_other_pages_link_to_the_owners_of_cases(owned: Browser) -> None:
    api, link = owned.api, f'href="/console/owners?project_id=shop&amp;owner={quote("@acme/web", safe="")}"'
    [case] = (await api.get("/v1/cases", {"project_id": "shop", "q": "logs in"}))["data"]
    [group, *_] = (await api.get("/v1/failures", {"project_id": "shop"}))["data"]
    for path in (f"/console/cases/{case['id']}", f"/console/failures/{group['id']}", "/console/tests?project_id=shop"):
        assert link in await owned.open(path), path
    for path in ("/console/tests?project_id=shop", "/console/health?project_id=shop"):
        assert 'href="/console/owners?project_id=shop"' in await owned.open(path), path


async def test_tests_are_filtered_by_owner(owned: Browser) -> None:
    text = section(await owned.open("/console/tests?project_id=shop&owner=core"), "tests")
    assert ("logs in auth.login @acme/web core Passed" in text, "pays" in text) == (True, False)
    empty = main_text(await owned.open("/console/tests?project_id=shop&owner=nothing"))
    assert "No test of this owner matches. Show the owners of the project" in empty
