"""The pages of members: the list with the form that adds one, and the forms that change and remove one."""

import re
from typing import Any

from tests.console.browsers import Browser, token_of
from tests.console.sections import main_text
from tests.served import Api

LIST = "/console/members"


async def listed(api: Api) -> Any:
    return (await api.get("/v1/members"))["data"]


def problem_at(page: str, field: str) -> str:
    found = re.search(rf'<p class="problem" id="f-{field}-hint">([^<]*)</p>', page)
    assert found is not None, page
    return found[1]


async def test_an_admin_adds_changes_and_removes_members(signed_in: Browser) -> None:
    api, page = signed_in.api, await signed_in.open(LIST)
    assert "No members" in main_text(page)
    assert "this service has no identity provider" in main_text(page)
    blank = {"form_token": token_of(page), "email": "", "group": "", "role": "viewer", "project_id": ""}
    for fields, field, problem in (
        ({}, "email", "Exactly one of email and group is required"),
        ({"email": "ada"}, "email", "Must be an email address of at most 254 characters, such as ada@example.org"),
    ):
        rejected = await signed_in.post(LIST, blank | fields)
        assert (rejected.status, problem_at(await rejected.text(), field)) == (400, problem)

    assert (await signed_in.post(LIST, blank | {"email": "Ada@example.org"})).status == 303
    again = await signed_in.post(LIST, blank | {"email": "ada@example.org"})
    assert again.status == 409
    assert "is already a member of all projects" in main_text(await again.text())
    group = blank | {"group": "<QA>", "role": "engineer", "project_id": "shop"}
    assert (await signed_in.post(LIST, group)).status == 303
    text = main_text(await signed_in.open(LIST))
    for shown in (
        "&lt;QA&gt; Group engineer shop",
        "ada@example.org Hasn’t signed in yet viewer All projects",
        'by key "test"',
    ):
        assert shown in text, text

    ada = (await listed(api))[1]
    path = f"{LIST}/{ada['id']}"
    token = token_of(await signed_in.open(path))
    changed = await signed_in.post(path, {"form_token": token, "role": "admin", "project_id": "docs"})
    assert changed.headers["Location"] == path
    assert (await listed(api))[1] == ada | {"role": "admin", "project_id": "docs"}
    await signed_in.post(path, {"form_token": token, "role": "admin", "project_id": " "})
    assert (await listed(api))[1] == ada | {"role": "admin"}
    removed = await signed_in.post(f"{path}/remove", {"form_token": token})
    assert removed.headers["Location"] == LIST
    assert [each["group"] for each in await listed(api)] == ["<QA>"]
    await signed_in.open(path, status=404)


async def test_only_admins_see_members(browser: Browser) -> None:
    await browser.sign_in((await browser.api.make_key("engineer")).key)
    page = await browser.open("/console/runs")
    assert LIST not in page
    await browser.open(LIST, status=403)
