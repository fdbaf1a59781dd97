"""The pages of trusted publishers: the list with the newest exchanges, and the forms that add, disable, and remove."""

import re
from typing import Any

from service.database.database import as_organization
from service.identity.publishers import store as publishers_store
from service.identity.publishers.store import NewExchange
from tests.console.browsers import Browser, token_of
from tests.console.sections import main_text
from tests.served import Api

LIST = "/console/publishers"
NEW = f"{LIST}/new"
BLANK = {
    "claim_1": "",
    "claim_2": "",
    "other_claims": "",
    "issuer": "",
    "project_id": "",
    "role": "uploader",
    "name": "",
}


async def listed(api: Api) -> Any:
    return (await api.get("/v1/publishers"))["data"]


def problem_at(page: str, field: str) -> str:
    found = re.search(rf'<p class="problem" id="f-{field}-hint">([^<]*)</p>', page)
    assert found is not None, page
    return found[1]


async def test_an_admin_adds_disables_and_removes_publishers(signed_in: Browser) -> None:
    api, page = signed_in.api, await signed_in.open(LIST)
    assert "No publishers" in main_text(page)
    assert "No exchanges" in main_text(page)
    page = await signed_in.open(f"{NEW}?provider=gitlab")
    assert re.findall(r'<label for="f-claim_\d">([^<]*)</label>', page) == ["project_id", "namespace_id"]
    blank = BLANK | {"form_token": token_of(page), "provider": "gitlab"}
    valid = blank | {"claim_1": "7", "claim_2": " 3 ", "project_id": "shop", "other_claims": "ref = a=b\r\n\r\n"}
    for fields, field, problem in (
        ({"claim_1": "acme/shop"}, "claim_1", "Must be a number; group/name is not an ID."),
        ({"claim_2": ""}, "claim_2", "Is required for gitlab"),
        ({"other_claims": "sub=x"}, "other_claims", "The claim sub can&#39;t be a claim of a publisher"),
        ({"other_claims": "main"}, "other_claims", "Must be one NAME=VALUE per line"),
        ({"issuer": "http://127.0.0.1"}, "issuer", "Must start with https://"),
        ({"project_id": ""}, "project_id", "Is required, because a job gets a key of one project"),
    ):
        rejected = await signed_in.post(NEW, valid | fields)
        text = await rejected.text()
        assert (rejected.status, problem_at(text, field)[: len(problem)]) == (400, problem)
        assert f'name="claim_2" type="text" value="{(valid | fields)["claim_2"]}"' in text

    assert (await signed_in.post(NEW, valid)).headers["Location"] == LIST
    [created] = await listed(api)
    assert created["claims"] == {"project_id": "7", "namespace_id": "3", "ref": "a=b"}
    assert (created["created_by_name"], created["role"], created["project_id"]) == ("test", "uploader", "shop")
    assert "GitLab CI/CD 7" in main_text(await signed_in.open(LIST))

    for action, enabled in (("disable", False), ("enable", True)):
        changed = await signed_in.post(f"{LIST}/{created['id']}/{action}", {"form_token": blank["form_token"]})
        assert changed.headers["Location"] == LIST
        assert (await listed(api))[0]["enabled"] is enabled
        assert ("Disabled" in main_text(await signed_in.open(LIST))) is not enabled
    await signed_in.post(f"{LIST}/{created['id']}/remove", {"form_token": blank["form_token"]})
    assert await listed(api) == []


async def test_exchanges_show_the_reason_of_a_refusal(signed_in: Browser) -> None:
    api = signed_in.api
    refused = NewExchange(
        None, "https://ci", b"", "https://ci/1", "shop", None, "ref <b> differs", {"n": [1], "a": "<i>"}
    )
    async with as_organization(api.resources.pool, api.org_id) as connection:
        await publishers_store.insert_exchange(connection, api.org_id, refused)
        await publishers_store.insert_exchange(
            connection, api.org_id, refused._replace(refusal=None, job="javascript:x")
        )
    page = await signed_in.open(LIST)
    text = main_text(page)
    assert "Refused https://ci/1 ref <b> differs" in text
    assert "Accepted javascript:x" in text
    assert 'href="javascript' not in page
    assert "<b>" not in page
    assert "n=[1]" in text


async def test_only_admins_see_publishers(browser: Browser) -> None:
    await browser.sign_in((await browser.api.make_key("engineer")).key)
    assert LIST not in await browser.open("/console/runs")
    for path in (LIST, NEW):
        await browser.open(path, status=403)


async def test_form_asks_in_plain_words(signed_in: Browser) -> None:
    text = main_text(await signed_in.open(f"{NEW}?provider=github"))
    assert "Jobs that get a key The jobs whose ID token states all of these values." in text
    assert "Further claims (optional)" in text
