"""The page of a failure group: its results, and the form of its ticket."""

import re
from typing import Any

import pytest

from service.failures import pages as failures_pages
from service.failures.pages import count_days
from tests.case_states import update_states
from tests.console.browsers import Browser, token_of
from tests.console.sections import main_text, section
from tests.run_events import result
from tests.stats.test_pages import HEALTH, failed, store

URL = "https://tickets.example.com/7"


async def group_of(browser: Browser, **failure: Any) -> Any:
    """Store a failure in the project `shop`, and return its group."""
    await store(browser, [0.2, 0.1], [failed("pays", "boom 17"), failed("adds", "boom 4"), result("works")], **failure)
    [group] = (await browser.api.get("/v1/failures", {"project_id": "shop"}))["data"]
    return group


def path_of(group: Any) -> str:
    return f"/console/failures/{group['id']}"


async def send(browser: Browser, group: Any, **fields: str) -> Any:
    form = {"form_token": token_of(await browser.open(HEALTH)), **fields}
    return await browser.post(path_of(group), form)


async def ticket_of(browser: Browser, group: Any) -> str | None:
    ticket: str | None = (await browser.api.get(f"/v1/failures/{group['id']}"))["ticket_url"]
    return ticket


async def test_page_shows_one_entry_per_case_with_its_number_of_results(signed_in: Browser) -> None:
    group = await group_of(signed_in)
    page = await signed_in.open(path_of(group))
    text = main_text(page)
    assert re.search(r"Health shop boom \d+ Bug Results 4 Cases 2 Runs 2 Results per day \(UTC\)|Runs 2 Case", text)
    rows = re.findall(r"(pays|adds) auth.login (?:boom \d+ )?(\d) in (\d) runs ", text)
    assert sorted(rows) == [("adds", "2", "2"), ("pays", "2", "2")]
    assert "works" not in text
    assert f'href="/console/results/{group["example_result_id"]}"' in page
    assert f"First seen {group['first_seen'][:10]}" in section(page, "group")


async def test_page_shows_the_state_on_the_default_branch(signed_in: Browser) -> None:
    group = await group_of(signed_in, branch="main")
    await update_states(signed_in.api.store.pool)
    text = section(await signed_in.open(path_of(group)), "group")
    assert f"State on the default branch Open Opened {group['first_seen'][:10]}" in text
    assert "Resolved" not in text
    await store(signed_in, [0.01], [result(name) for name in ("pays", "adds", "works")], prefix="fixed", branch="main")
    await update_states(signed_in.api.store.pool)
    assert "State on the default branch Resolved Opened" in section(await signed_in.open(path_of(group)), "group")


async def test_newest_failure_is_shown_with_its_stack(signed_in: Browser) -> None:
    failure = {"type": "Bug", "message": "boom", "details": "at <b>line</b> 1"}
    await store(signed_in, [0.1], [result("pays", "failed", failure=failure)])
    [group] = (await signed_in.api.get("/v1/failures", {"project_id": "shop"}))["data"]
    text = section(await signed_in.open(path_of(group)), "example")
    assert text == "Newest failure Bug boom Stack at <b>line</b> 1 Show the result"


def test_days_are_those_from_the_first_to_the_last_failure() -> None:
    day = 86_400_000
    trend = count_days([20 * day, 18 * day + 5, 18 * day], 20 * day + 7)
    assert trend is not None
    assert trend.titles == ["Jan 19: 2 results", "Jan 20: 0 results", "Jan 21: 1 result"]
    assert [bar.height for bar in trend.bars] == [100, 0, 50]
    assert trend.summary == "Jan 19 to Jan 21, at most 2 results per day"
    assert count_days([20 * day], 20 * day + 7) is None
    long = count_days([0], 90 * day)
    assert long is not None
    assert len(long.bars) == 30


async def test_pages_of_the_run_and_result_link_to_the_group(signed_in: Browser) -> None:
    group = await group_of(signed_in)
    for path in ("/console/runs/run-1", f"/console/results/{group['example_result_id']}"):
        assert f'href="{path_of(group)}"' in await signed_in.open(path), path


async def test_partial_groups_state_this(signed_in: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    group = await group_of(signed_in)
    assert "only the newest ones count" not in (await signed_in.open(path_of(group))).lower()
    monkeypatch.setattr(failures_pages, "_MAX_RESULTS", 3)
    monkeypatch.setattr(failures_pages, "_LISTED_CASES", 1)
    text = main_text(await signed_in.open(path_of(group)))
    assert "Only the newest ones count." in text
    assert "1 further case with fewer results." in text
    await signed_in.open(f"{path_of(group)}?color=red", 400)


async def test_ticket_is_set_and_removed(signed_in: Browser) -> None:
    group = await group_of(signed_in)
    response = await send(signed_in, group, ticket_url=f" {URL} ")
    assert (response.status, response.headers["Location"]) == (303, path_of(group))
    assert await ticket_of(signed_in, group) == URL
    page = await signed_in.open(path_of(group))
    assert f'<a class="wrap" href="{URL}"' in page
    assert f'type="url" value="{URL}"' in page
    actions = [row["action"] for row in await signed_in.api.store.pool.fetch("SELECT action FROM audit_trail")]
    assert f"POST {path_of(group)}" in actions
    assert (await send(signed_in, group, ticket_url=" ")).status == 303
    assert await ticket_of(signed_in, group) is None


async def test_ticket_of_the_health_page_returns_to_it(signed_in: Browser) -> None:
    group = await group_of(signed_in)
    response = await send(signed_in, group, ticket_url=URL, health="true", branch="a&b")
    assert response.headers["Location"] == f"{HEALTH}?project_id=shop&branch=a%26b#failures"
    assert f'href="{URL}"' in await signed_in.open(f"{HEALTH}?project_id=shop")


@pytest.mark.parametrize("url", ["javascript:alert(1)", "//t.example", "https://", "x" * 2_000, "\x00"])
async def test_wrong_ticket_is_shown_in_the_form(shared_browser: Browser, url: str) -> None:
    group = await group_of(shared_browser)
    response = await send(shared_browser, group, ticket_url=url)
    page = await response.text()
    assert response.status == 400
    assert 'aria-invalid="true"' in page
    assert 'class="small problem"' in page
    assert "boom" in page
    assert await ticket_of(shared_browser, group) is None


async def test_ticket_is_required_as_a_field(signed_in: Browser) -> None:
    group = await group_of(signed_in)
    assert (await send(signed_in, group)).status == 400
    assert (await send(signed_in, group, ticket_url=URL, color="red")).status == 400
    assert await ticket_of(signed_in, group) is None


async def test_viewer_and_other_sites_can_not_set_the_ticket(browser: Browser) -> None:
    group = await group_of(browser)
    await browser.sign_in()
    assert (await browser.post(path_of(group), {"form_token": "x", "ticket_url": URL})).status == 403
    token = token_of(await browser.open(HEALTH))
    fields = {"form_token": token, "ticket_url": URL}
    assert (await browser.post(path_of(group), fields, Sec_Fetch_Site="cross-site")).status == 403
    await browser.post("/console/sign-out", {"form_token": token})
    await browser.sign_in((await browser.api.make_key("viewer")).key)
    assert (await send(browser, group, ticket_url=URL)).status == 403
    assert 'name="ticket_url"' not in await browser.open(path_of(group))
    assert await ticket_of(browser, group) is None


async def test_group_of_another_project_or_organization_is_not_found(browser: Browser) -> None:
    group = await group_of(browser)
    await browser.sign_in((await browser.api.make_key("engineer", project_id="blog")).key)
    for failure_id in (group["id"], "fp1_" + "0" * 16, "x", "fp1_%2F"):
        path = f"/console/failures/{failure_id}"
        await browser.open(path, 404)
        assert (await send(browser, {"id": failure_id}, ticket_url=URL)).status == 404
