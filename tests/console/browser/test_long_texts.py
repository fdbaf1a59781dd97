"""Long texts of producers and users fit into a narrow window."""

from playwright.async_api import Page

from tests.console.browser.page_checks import check_layout, check_texts
from tests.run_events import result, run_event
from tests.served import Api

LONG = "long_text" * 20
NARROW = 360


async def test_long_texts_of_runs_cases_and_quarantines_fit_a_narrow_window(live_page: Page, api: Api) -> None:
    failure = {"type": LONG, "message": LONG}
    variants = [{LONG[:60]: LONG[:60]}, {LONG[:60]: LONG[:50]}]
    results = [result(LONG, "failed", suite=LONG, file=LONG, failure=failure, variant=variant) for variant in variants]
    names = dict.fromkeys(("project_id", "environment", "branch", "pull_request", "title", "author", "workflow"), LONG)
    await api.store.ingest(run_event(LONG, results, **names), run_event(f"{LONG}2", results, **names))
    case = (await api.get("/v1/results"))["data"][0]["case"]
    texts = {"reason": LONG, "owner": LONG, "ticket_url": f"https://example.com/{LONG}"}
    paths = ["/console/runs", "/console/tests", f"/console/cases/{case}", "/console/quarantines"]
    for matcher in ({"case": case}, {"project_id": LONG, "suite": LONG, "name": LONG, "variant": variants[0]}):
        response = await api.send("POST", "/v1/quarantines", json={**matcher, **texts})
        assert response.status == 201, await response.text()
        paths.append(f"/console/quarantines/{(await response.json())['id']}")
    for width in (NARROW, 800, 1280):
        await live_page.set_viewport_size({"width": width, "height": 800})
        for path in paths:
            await live_page.goto(path)
            await check_layout(live_page)


async def test_headings_with_names_of_tests_and_runs_break_between_words(live_page: Page, api: Api) -> None:
    run_id = "first_run_of_storefront_on_staging"
    name = "appliesEveryVoucherWhenTheCartIsFull"
    await api.store.ingest(run_event(run_id, [result(name, "failed", suite="", failure={"message": name})]))
    stored = (await api.get("/v1/results"))["data"][0]
    paths = (f"/console/runs/{run_id}", f"/console/results/{stored['id']}", f"/console/cases/{stored['case']}")
    await live_page.set_viewport_size({"width": 390, "height": 800})
    for path in paths:
        await live_page.goto(path)
        await check_texts(live_page)


async def test_part_of_a_report_with_a_long_problem_does_not_break(live_page: Page, api: Api) -> None:
    invalid = result("pays with vouchers " * 10, duration_ms="three minutes")
    await api.store.ingest(run_event("run_1", [result(), invalid], part="web"))
    for width in (NARROW, 800, 1280):
        await live_page.set_viewport_size({"width": width, "height": 800})
        await live_page.goto("/console/runs/run_1")
        assert "duration_ms" in await live_page.locator("#reports").inner_text()
        await check_texts(live_page)
