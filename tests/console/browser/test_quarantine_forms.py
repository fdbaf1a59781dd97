"""The forms of quarantines in the browser, and their effect on gates."""

from typing import Any

from playwright.async_api import Page, expect

from tests.console.browser.demo_site import origin_of
from tests.console.browser.page_checks import PageProblems, check_accessibility
from tests.run_events import result, run_event
from tests.served import Api

POLICY = {"policy": {"max_failures": 0}}


async def decide(api: Api) -> Any:
    response = await api.send("POST", "/v1/runs/run_1/decisions", json=POLICY)
    assert response.status == 200
    return await response.json()


async def open_case(page: Page, api: Api) -> PageProblems:
    """Store a run with a failing case, and open the page of the case."""
    await api.store.ingest(run_event("run_1", [result("pays", "failed"), result("ships")]))
    [failing] = (await api.get("/v1/results", {"status": "failed"}))["data"]
    problems = await PageProblems.collect(page, origin_of(api))
    await page.goto(f"/console/cases/{failing['case']}")
    return problems


async def test_quarantine_by_form_excuses_the_gate_until_it_ends(live_page: Page, api: Api) -> None:
    problems = await open_case(live_page, api)
    assert (await decide(api))["decision"] == "blocked"
    await live_page.get_by_label("Reason").fill("issue 7")
    await live_page.get_by_role("button", name="Quarantine", exact=True).click()
    await expect(live_page.get_by_text("Expires in 13 days")).to_be_visible()
    decided = await decide(api)
    assert (decided["decision"], decided["failures"]["quarantined"]) == ("passed", 1)
    await live_page.get_by_role("link", name="Change or end").click()
    await live_page.locator("summary", has_text="End").click()
    await live_page.get_by_role("button", name="End", exact=True).click()
    await expect(live_page.get_by_text("No longer active")).to_be_visible()
    assert (await decide(api))["decision"] == "blocked"
    problems.check()


async def test_wrong_value_is_reported_at_its_field(live_page: Page, api: Api) -> None:
    problems = await open_case(live_page, api)
    await live_page.get_by_label("Reason").fill("issue 7")
    expiry = live_page.get_by_label("Expires")
    await expiry.fill("2001-01-01")
    with problems.expected("400"):
        await live_page.get_by_role("button", name="Quarantine", exact=True).click()
        await expect(expiry).to_have_attribute("aria-invalid", "true")
    await expect(expiry).to_have_accessible_description("Must be in the future")
    await expect(expiry).to_have_value("2001-01-01")
    await expect(live_page.get_by_label("Reason")).to_have_value("issue 7")
    await check_accessibility(live_page)
    problems.check()


async def test_question_before_the_end_is_inside_the_window(live_page: Page, api: Api) -> None:
    body = {"project_id": "shop", "name": "pays*", "reason": "issue 7"}
    assert (await api.send("POST", "/v1/quarantines", json=body)).status == 201
    await live_page.set_viewport_size({"width": 360, "height": 800})
    await live_page.goto("/console/quarantines")
    await live_page.locator("summary", has_text="End").click()
    button = live_page.get_by_role("button", name="End", exact=True)
    await expect(button).to_be_in_viewport(ratio=1)
    await expect(live_page.get_by_text("End this quarantine?")).to_be_in_viewport(ratio=1)
