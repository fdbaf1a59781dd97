"""The pages of quarantines: the list, one of them, and the forms that create, change, and end them."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from service.database.database import as_organization
from service.quarantines.model import MAX_ACTIVE
from tests.cases.test_pages import fill, in_days
from tests.console.browsers import Browser, token_of
from tests.console.sections import main_text
from tests.run_events import result, run_event
from tests.served import Api

LIST = "/console/quarantines"
NEW = f"{LIST}/new"
UNKNOWN = "qua_" + "0" * 32
CREATE_MANY = """
INSERT INTO quarantines (org_id, quarantine_id, project_id, name, reason, expires_at, created_by)
SELECT 1, 'qua_' || lpad(to_hex(n), 32, '0'), 'shop', 'test ' || n, 'x', now() + interval '1 day', 'key_1'
FROM generate_series(1, $1) AS n
"""


async def create(api: Api, key: str | None = None, **fields: Any) -> Any:
    body = {"project_id": "shop", "name": "pays*", "reason": "issue 7", **fields}
    response = await api.send("POST", "/v1/quarantines", key=key, json=body)
    assert response.status == 201, await response.text()
    return await response.json()


async def listed(api: Api, **params: str) -> Any:
    return (await api.get("/v1/quarantines", params))["data"]


async def create_many(api: Api, count: int) -> None:
    async with as_organization(api.resources.pool, api.org_id) as connection:
        await connection.execute(CREATE_MANY, count)


async def expire(api: Api, quarantine: Any) -> None:
    await api.store.pool.execute(
        "UPDATE quarantines SET expires_at = now() - interval '2 days' WHERE quarantine_id = $1", quarantine["id"]
    )


def ids_of(page: str) -> list[str]:
    """Return the IDs of the listed quarantines in their order."""
    return list(dict.fromkeys(re.findall(r'href="/console/quarantines/(qua_\w+)"', page)))


def problem_at(page: str, field: str) -> str:
    found = re.search(rf'<p class="problem" id="f-{field}-hint">([^<]*)</p>', page)
    assert found is not None, page
    return found[1]


def path_of(quarantine: Any, action: str = "") -> str:
    return f"{LIST}/{quarantine['id']}{action}"


async def filled(browser: Browser, **fields: str) -> dict[str, str]:
    """Return the fields of the form that creates a quarantine."""
    blank = dict.fromkeys(("project_id", "suite", "name", "variant", "case"), "")
    return blank | await fill(browser, NEW, **fields)


async def test_list_shows_active_quarantines_first_and_ended_ones_stay(signed_in: Browser) -> None:
    api = signed_in.api
    await api.store.ingest(run_event("a", [result("pays by card", suite="cart", variant={"os": "linux"})]))
    case = (await api.get("/v1/results"))["data"][0]["case"]
    of_case = await create(api, name=None, project_id=None, case=case, owner="payments", ticket_url="https://t/7")
    ended, expired, newest = await create(api), await create(api, name="old*"), await create(api, suite="a.*")
    await api.send("DELETE", f"/v1/quarantines/{ended['id']}")
    await expire(api, expired)
    page = await signed_in.open(LIST)
    assert ids_of(page) == [newest["id"], of_case["id"], expired["id"], ended["id"]]
    text = main_text(page)
    first_row = "Active pays by card cart shop os: linux issue 7 payments Ticket Expires in 13 days Created"
    assert first_row in text
    assert "Expired 2 days ago" in text
    assert "Ended less than a minute ago" in text
    assert text.count('by key "test"') == page.count(f'title="Key {of_case["created_by"]}"') == 4
    assert ids_of(await signed_in.open(f"{LIST}?active=true")) == [newest["id"], of_case["id"]]
    assert ids_of(await signed_in.open(f"{LIST}?active=false")) == [expired["id"], ended["id"]]
    assert ids_of(await signed_in.open(f"{LIST}?case={case}")) == [of_case["id"]]
    assert "No quarantines match the filters" in await signed_in.open(f"{LIST}?project_id=blog")


async def test_list_has_a_next_page_for_each_section(signed_in: Browser) -> None:
    await create_many(signed_in.api, 60)
    page = await signed_in.open(LIST)
    assert len(ids_of(page)) == 50
    next_path = re.search(r'href="([^"]+)" rel="next"', page)
    assert next_path is not None
    second = await signed_in.open(next_path[1].replace("&amp;", "&"))
    assert len(ids_of(second)) == 10
    assert not set(ids_of(page)) & set(ids_of(second))


async def test_empty_list_describes_the_next_step(browser: Browser) -> None:
    await browser.sign_in()
    assert f'href="{NEW}"' in (await browser.open(LIST)).partition('class="empty"')[2]


async def test_form_creates_a_quarantine_with_globs_and_a_variant(signed_in: Browser) -> None:
    sent = await filled(
        signed_in, project_id="shop", suite="cart.*", name="pays*", variant="os:linux\r\npython:3.13\r\n", reason="x"
    )
    response = await signed_in.post(NEW, sent)
    [created] = await listed(signed_in.api)
    assert (response.status, response.headers["Location"]) == (303, path_of(created))
    expected = {
        "project_id": "shop", "suite": "cart.*", "name": "pays*", "variant": {"os": "linux", "python": "3.13"},
        "case": None, "reason": "x", "owner": None, "ticket_url": None, "expires_at": f"{in_days(14)}T00:00:00.000Z",
    }  # fmt: skip
    assert {name: created[name] for name in expected} == expected
    text = main_text(await signed_in.open(path_of(created)))
    assert "Suites cart.* Names pays* Variants with os: linux python: 3.13" in text


async def test_query_sets_the_values_of_the_form(signed_in: Browser) -> None:
    page = await signed_in.open(f"{NEW}?project_id=shop&name=a%22b*&reason=ignored")
    assert 'value="shop"' in page
    assert 'value="a&#34;b*"' in page
    assert "ignored" not in page


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"project_id": ""}, "project_id", "Is required without a case"),
        ({"name": ""}, "case", "Case, suite, or name is required"),
        ({"name": "*a" * 6}, "name", "Must contain at most 5 *"),
        ({"suite": "*a" * 6}, "suite", "Must contain at most 5 *"),
        ({"name": "x" * 501}, "name", "Must have at most 500 characters"),
        ({"case": "case_1", "name": ""}, "case", "Must be case_ followed by 16 hex digits"),
        ({"case": "case_" + "0" * 16}, "case", "Must not be combined with name"),
        ({"variant": "linux"}, "variant", "Must be key:value"),
        ({"variant": "os:linux\nos:mac"}, "variant", "Must contain the key"),
        ({"reason": ""}, "reason", "Is required"),
        ({"expires_at": in_days(-1)}, "expires_at", "Must be in the future"),
        ({"expires_at": in_days(92)}, "expires_at", "Must be at most 90 days from now"),
    ],
)
async def test_error_is_shown_at_its_field(
    shared_browser: Browser, fields: dict[str, str], field: str, message: str
) -> None:
    sent = await filled(shared_browser, **{"project_id": "shop", "name": "pays*", "reason": "x"} | fields)
    response = await shared_browser.post(NEW, sent)
    page = await response.text()
    assert (response.status, page.count('aria-invalid="true"')) == (400, 1)
    assert problem_at(page, field).startswith(message)
    assert all(value in page for value in fields.values())
    assert await listed(shared_browser.api) == []


async def test_unknown_case_is_an_error_at_its_field(signed_in: Browser) -> None:
    response = await signed_in.post(NEW, await filled(signed_in, case="case_" + "0" * 16, reason="x"))
    assert response.status == 404
    assert "not found" in problem_at(await response.text(), "case")


async def test_maximum_of_active_quarantines_is_shown(signed_in: Browser) -> None:
    await create_many(signed_in.api, MAX_ACTIVE)
    response = await signed_in.post(NEW, await filled(signed_in, project_id="shop", name="a", reason="the reason"))
    page = await response.text()
    assert response.status == 409
    assert f"has {MAX_ACTIVE} active quarantines, the maximum; end one first" in main_text(page)
    assert "the reason" in page


async def test_form_changes_an_active_quarantine(signed_in: Browser) -> None:
    quarantine = await create(signed_in.api, owner="payments", ticket_url="https://t/7")
    sent = await fill(signed_in, path_of(quarantine), reason="issue 8", owner=" ", ticket_url="https://t/8")
    response = await signed_in.post(path_of(quarantine), sent)
    assert (response.status, response.headers["Location"]) == (303, path_of(quarantine))
    [changed] = await listed(signed_in.api)
    assert changed == quarantine | {"reason": "issue 8", "owner": None, "ticket_url": "https://t/8"}  # with its time
    await signed_in.post(path_of(quarantine), sent | {"expires_at": in_days(80)})
    assert (await listed(signed_in.api))[0]["expires_at"] == f"{in_days(80)}T00:00:00.000Z"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"reason": " "}, "reason"),
        ({"ticket_url": "ftp://t/1"}, "ticket_url"),
        ({"expires_at": in_days(-1)}, "expires_at"),
        ({"expires_at": in_days(92)}, "expires_at"),
        ({"expires_at": "x"}, "expires_at"),
    ],
)
async def test_wrong_change_is_shown_at_its_field(signed_in: Browser, fields: dict[str, str], field: str) -> None:
    quarantine = await create(signed_in.api)
    sent = await fill(signed_in, path_of(quarantine), **{"reason": "y", "owner": "an owner"} | fields)
    response = await signed_in.post(path_of(quarantine), sent)
    page = await response.text()
    assert response.status == 400
    assert problem_at(page, field)
    assert 'value="an owner"' in page
    assert await listed(signed_in.api) == [quarantine]


async def test_ended_quarantine_stays_readable_without_a_form(signed_in: Browser) -> None:
    quarantine = await create(signed_in.api)
    sent = await fill(signed_in, path_of(quarantine), reason="too late")
    end = path_of(quarantine, "/end")
    assert f'action="{end}"' in await signed_in.open(path_of(quarantine))
    response = await signed_in.post(end, {"form_token": sent["form_token"]})
    assert (response.status, response.headers["Location"]) == (303, path_of(quarantine))
    [ended] = await listed(signed_in.api)
    assert ended["active"] is False
    assert (await signed_in.post(end, {"form_token": sent["form_token"]})).status == 303
    assert await listed(signed_in.api) == [ended]
    page = await signed_in.open(path_of(quarantine))
    assert "issue 7" in main_text(page)
    assert page.count("<form") == 1  # of the sign-out
    response = await signed_in.post(path_of(quarantine), sent)
    assert response.status == 409
    assert "is no longer active; create a new one" in main_text(await response.text())
    assert await listed(signed_in.api) == [ended]


async def test_viewer_reads_quarantines_but_sees_and_sends_no_form(browser: Browser) -> None:
    quarantine = await create(browser.api)
    await browser.sign_in((await browser.api.make_key("viewer")).key)
    for path in (LIST, path_of(quarantine)):
        page = await browser.open(path)
        assert "issue 7" in page
        assert 'method="post" action="/console/quarantines' not in page
    await browser.open(NEW, 403)
    fields = {"form_token": token_of(page), "project_id": "shop", "name": "a", "reason": "x"}
    for path in (NEW, path_of(quarantine), path_of(quarantine, "/end")):
        assert (await browser.post(path, fields)).status == 403
    assert await listed(browser.api) == [quarantine]


async def test_engineer_can_create_change_and_end(browser: Browser) -> None:
    await browser.sign_in((await browser.api.make_key("engineer")).key)
    response = await browser.post(NEW, await filled(browser, project_id="shop", name="a", reason="x"))
    path = response.headers["Location"]
    changed = await browser.post(path, await fill(browser, path, reason="y"))
    ended = await browser.post(f"{path}/end", {"form_token": token_of(await browser.open(path))})
    assert [changed.status, ended.status] == [303, 303]
    assert [(item["reason"], item["active"]) for item in await listed(browser.api)] == [("y", False)]


async def test_form_without_the_token_or_of_another_site_changes_nothing(signed_in: Browser) -> None:
    quarantine = await create(signed_in.api)
    sent = await filled(signed_in, project_id="shop", name="a", reason="x")
    for fields, site in ((sent | {"form_token": "0" * 64}, "same-origin"), (sent, "cross-site")):
        for path in (NEW, path_of(quarantine), path_of(quarantine, "/end")):
            assert (await signed_in.post(path, fields, Sec_Fetch_Site=site)).status == 403
    assert await listed(signed_in.api) == [quarantine]


async def test_quarantines_of_another_organization_are_hidden(browser: Browser) -> None:
    quarantine = await create(browser.api)
    _, key = await browser.api.make_organization("other")
    await browser.sign_in(key)
    assert ids_of(await browser.open(LIST)) == []
    await check_not_found(browser, quarantine)


async def test_key_of_a_project_manages_only_its_quarantines(browser: Browser) -> None:
    foreign = await create(browser.api, project_id="blog")
    own = await create(browser.api)
    await browser.sign_in((await browser.api.make_key("engineer", project_id="shop")).key)
    assert ids_of(await browser.open(LIST)) == [own["id"]]
    assert ids_of(await browser.open(f"{LIST}?project_id=blog")) == []
    await check_not_found(browser, foreign)
    response = await browser.post(NEW, await filled(browser, project_id="blog", name="a", reason="x"))
    assert response.status == 403
    assert "This key is bound to the project" in problem_at(await response.text(), "project_id")
    assert (await browser.post(NEW, await filled(browser, name="a", reason="x"))).status == 303
    assert [item["project_id"] for item in await listed(browser.api)] == ["shop", "shop", "blog"]


async def check_not_found(browser: Browser, quarantine: Any) -> None:
    """Check that the quarantine can't be read, changed, or ended, like one that doesn't exist."""
    for path in (path_of(quarantine), path_of({"id": UNKNOWN}), path_of({"id": "qua_1"})):
        page = await browser.open(path, 404)
        fields = {"form_token": token_of(page), "reason": "x", "expires_at": in_days(5)}
        assert [(await browser.post(f"{path}{action}", fields)).status for action in ("", "/end")] == [404, 404]
    assert quarantine in await listed(browser.api)


async def test_quarantine_by_form_excuses_the_failure_in_gates(signed_in: Browser) -> None:
    api = signed_in.api
    await api.store.ingest(
        run_event("run_1", [result("pays", "failed"), result("ships")], time=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
    )

    async def decide() -> Any:
        response = await api.send("POST", "/v1/runs/run_1/decisions", json={"policy": {"max_failures": 0}})
        return await response.json()

    assert (await decide())["decision"] == "blocked"
    case = next(item["case"] for item in (await api.get("/v1/results"))["data"] if item["name"] == "pays")
    path = f"/console/cases/{case}"
    assert (await signed_in.post(path, await fill(signed_in, path, reason="issue 7"))).status == 303
    decided = await decide()
    assert (decided["decision"], decided["failures"]["quarantined"]) == ("passed", 1)
    [quarantine] = await listed(api)
    failing = next(item["id"] for item in (await api.get("/v1/results"))["data"] if item["name"] == "pays")
    for shown in ("/console/runs/run_1", f"/console/results/{failing}"):
        assert f'href="{path_of(quarantine)}"' in await signed_in.open(shown)
    await signed_in.post(path_of(quarantine, "/end"), {"form_token": token_of(await signed_in.open(path))})
    assert (await decide())["decision"] == "blocked"
