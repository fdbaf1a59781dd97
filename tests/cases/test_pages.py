"""The page of a case: what it shows of its results, and the form that quarantines it."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest

from tests.console.browsers import Browser, token_of
from tests.console.sections import main_text, text_of
from tests.run_events import result, run_event

UNKNOWN = "case_" + "0" * 16


async def store_history(browser: Browser, *results: dict[str, Any], name: str = "pays", **run: Any) -> str:
    """Store one run per result, oldest first, and return the path of the page of their case."""
    events = [
        run_event(f"run_{number}", [fields], time=f"2026-05-20T10:{number:02}:00Z", **run)
        for number, fields in enumerate(results)
    ]
    await browser.api.store.ingest_each(*events)
    listed = (await browser.api.get("/v1/results"))["data"]
    return f"/console/cases/{next(item['case'] for item in listed if item['name'] == name)}"


def failed(message: str = "boom", **fields: Any) -> dict[str, Any]:
    return result("pays", "failed", failure={"type": "E", "message": message}, **fields)


async def quarantines(browser: Browser) -> Any:
    return (await browser.api.get("/v1/quarantines"))["data"]


async def fill(browser: Browser, path: str, **fields: str) -> dict[str, str]:
    """Return the fields that a browser sends from the form of a page."""
    page = await browser.open(path)
    expires_at = re.search(r'name="expires_at" type="date" value="([^"]+)"', page)
    assert expires_at is not None, page
    sent = {"reason": "", "owner": "", "ticket_url": "", "expires_at": expires_at[1]}
    return {"form_token": token_of(page), **sent, **fields}


def in_days(days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).date().isoformat()


async def test_page_shows_results_rates_and_failures(signed_in: Browser) -> None:
    flaky_attempts = [{"status": "failed", "failure": {"message": "slow"}}, {"status": "passed"}]
    history = [
        result("pays", duration_ms=100),
        failed("first boom", duration_ms=300),
        result("pays", duration_ms=200, attempts=flaky_attempts),
        result("pays", "skipped", duration_ms=9_000),
        failed("last boom", duration_ms=400),
    ]
    page = await signed_in.open(await store_history(signed_in, *history, branch="main"))
    text = main_text(page)
    assert "Failed 50% 2 of 4 Flaky 25% 1 of 4 Median duration 200ms 95th percentile 400ms" in text
    assert "Last 5 results: 1 passed, 2 failed, 1 flaky, 1 skipped" in text
    rows = re.findall(r"<tr>(.*?)</tr>", page.partition('id="failures"')[2].partition("</section>")[0], re.DOTALL)
    shown = [text_of(row) for row in rows[1:]]
    assert [row.split(" 2026")[0] for row in shown] == [
        "Failed last boom run_4 main", "Flaky slow run_2 main", "Failed first boom run_1 main",
    ]  # fmt: skip
    strip = page.partition('class="strip"')[2].partition("</svg>")[0]
    statuses = re.findall(r"<title>(\w+) in (run_\d)", strip)
    assert statuses == [
        ("Passed", "run_0"), ("Failed", "run_1"), ("Flaky", "run_2"), ("Skipped", "run_3"), ("Failed", "run_4"),
    ]  # fmt: skip
    assert "9s" not in text
    ids = {item["run_id"]: item["id"] for item in (await signed_in.api.get("/v1/results"))["data"]}
    assert re.findall(r'href="/console/results/(\w+)"', strip) == [ids[f"run_{number}"] for number in range(5)]
    links = re.findall(r'href="(/console/[rR]\w+/\w+)"', rows[1])
    assert links == [f"/console/results/{ids['run_4']}", "/console/runs/run_4"]


async def test_page_shows_the_newest_100_results_and_10_failures(signed_in: Browser) -> None:
    await signed_in.api.store.ingest(
        *[
            run_event(f"run_{n}", [failed(f"boom {n}")], time=f"2026-05-20T{10 + n // 60}:{n % 60:02}:00Z")
            for n in range(103)
        ]
    )
    case = (await signed_in.api.get("/v1/results", {"limit": "1"}))["data"][0]["case"]
    page = await signed_in.open(f"/console/cases/{case}")
    text = main_text(page)
    assert "Last 100 results: 100 failed" in text
    assert "The newest 10 of 100 are listed." in text
    assert ("boom 93 " in text, "boom 92 " in text) == (True, False)
    assert "100% 100 of 100" in text


async def test_page_lists_the_other_variants_of_the_case(signed_in: Browser) -> None:
    results = [
        result("pays", variant={"os": "linux"}),
        result("pays", "failed", variant={"os": "mac"}),
        result("pays", variant={"os": "mac"}, suite="other"),
        result("refunds", variant={"os": "mac"}),
        result("by id", case_id="tc_1", variant={"os": "mac"}),
        result("renamed", case_id="tc_1"),
    ]
    await signed_in.api.store.ingest(run_event("run_1", results), run_event("blog", results, project_id="blog"))
    listed = (await signed_in.api.get("/v1/results", {"run_id": "run_1"}))["data"]

    async def others_of(name: str, variant: dict[str, str]) -> list[str]:
        case = next(item for item in listed if (item["name"], item["variant"]) == (name, variant))["case"]
        section = (await signed_in.open(f"/console/cases/{case}")).partition('id="variants"')[2]
        return re.findall(r'href="/console/cases/(case_\w+)"', section.partition("</section>")[0])

    of_mac = next(item for item in listed if item["status"] == "failed")
    assert await others_of("pays", {"os": "linux"}) == [of_mac["case"]]
    assert await others_of("refunds", {"os": "mac"}) == []
    assert await others_of("renamed", {}) == [next(item["case"] for item in listed if item["name"] == "by id")]


async def test_case_of_another_organization_or_project_is_not_found(browser: Browser) -> None:
    path = await store_history(browser, result("pays"))
    _, other_key = await browser.api.make_organization("other")
    blog_key = (await browser.api.make_key("admin", project_id="blog")).key
    for key in (other_key, blog_key):
        await browser.sign_in(key)
        for missing in (path, f"/console/cases/{UNKNOWN}", "/console/cases/case_1"):
            page = await browser.open(missing, 404)
            response = await browser.post(missing, {"form_token": token_of(page), "reason": "x"})
            assert response.status == 404, missing
        await browser.post("/console/sign-out", {"form_token": token_of(page)})
    assert await quarantines(browser) == []


async def test_form_quarantines_the_case_for_14_days(signed_in: Browser) -> None:
    path = await store_history(signed_in, failed())
    sent = await fill(signed_in, path, reason=" issue 7\r\nline 2 ", owner="payments", ticket_url="https://t/7")
    assert sent["expires_at"] == in_days(14)
    response = await signed_in.post(path, sent)
    assert (response.status, response.headers["Location"]) == (303, path)
    [created] = await quarantines(signed_in)
    assert created["case"] == path.rpartition("/")[2]
    fields = ("project_id", "reason", "owner", "ticket_url", "active")
    assert [created[name] for name in fields] == ["shop", "issue 7\nline 2", "payments", "https://t/7", True]
    assert created["expires_at"] == f"{in_days(14)}T00:00:00.000Z"
    page = await signed_in.open(path)
    assert 'name="reason"' not in page
    text = main_text(page)
    assert "Expires in 13 days" in text
    assert f"Expires {in_days(14)} 00:00 UTC" in text
    assert f'<time datetime="{created["expires_at"]}"' not in page  # which the script shows in the zone of the reader
    assert f'Created by key "test" {created["created_by"]}' in text
    actions = await signed_in.api.store.pool.fetch("SELECT action FROM audit_trail")
    assert f"POST {path}" in [row["action"] for row in actions]


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"reason": " "}, "reason", "Is required"),
        ({"reason": "x" * 1_001}, "reason", "Must have at most 1000 characters"),
        ({"owner": "x" * 201}, "owner", "Must have at most 200 characters"),
        ({"ticket_url": "javascript:alert(1)"}, "ticket_url", "Must be a URL that starts with http:// or https://"),
        ({"expires_at": in_days(0)}, "expires_at", "Must be in the future"),
        ({"expires_at": in_days(92)}, "expires_at", "Must be at most 90 days from now"),
        ({"expires_at": "soon"}, "expires_at", "Must be a date or an RFC 3339 time"),
    ],
)
async def test_error_is_shown_at_its_field_with_the_values(
    shared_browser: Browser, fields: dict[str, str], field: str, message: str
) -> None:
    path = await store_history(shared_browser, failed())
    sent = await fill(shared_browser, path, **{"reason": "a <reason>", "owner": "an owner"} | fields)
    response = await shared_browser.post(path, sent)
    page = await response.text()
    assert (response.status, response.content_type) == (400, "text/html")
    assert f'<p class="problem" id="f-{field}-hint">{message}' in page
    assert page.count('aria-invalid="true"') == 1
    for name, value in sent.items():
        field_html = unescape(page.partition(f'name="{name}"')[2].partition("</div>")[0])
        assert value in field_html, name
    assert await quarantines(shared_browser) == []


async def test_field_that_the_form_does_not_have_is_an_error(signed_in: Browser) -> None:
    path = await store_history(signed_in, failed())
    for fields in ({"suite": "a"}, {"case": UNKNOWN}, {"until": "x"}):
        response = await signed_in.post(path, await fill(signed_in, path, reason="x") | fields)
        page = await response.text()
        assert (response.status, 'role="alert"' in page) == (400, True), fields
    assert await quarantines(signed_in) == []


async def test_viewer_sees_no_form_and_can_not_send_it(browser: Browser) -> None:
    path = await store_history(browser, failed())
    await browser.sign_in((await browser.api.make_key("viewer")).key)
    page = await browser.open(path)
    assert page.count("<form") == 1  # of the sign-out
    response = await browser.post(path, {"form_token": token_of(page), "reason": "x"})
    assert response.status == 403
    assert await quarantines(browser) == []


async def test_form_without_the_token_or_of_another_site_changes_nothing(signed_in: Browser) -> None:
    path = await store_history(signed_in, failed())
    sent = await fill(signed_in, path, reason="x")
    for fields, site in ((sent | {"form_token": "0" * 64}, "same-origin"), (sent, "cross-site")):
        assert (await signed_in.post(path, fields, Sec_Fetch_Site=site)).status == 403
    assert await quarantines(signed_in) == []


async def test_quarantine_with_globs_is_shown_on_the_page_of_each_case(signed_in: Browser) -> None:
    path = await store_history(signed_in, failed())
    document = {"project_id": "shop", "suite": "auth.*", "reason": "the complete suite"}
    await signed_in.api.send("POST", "/v1/quarantines", json=document)
    text = main_text(await signed_in.open(path))
    assert "the complete suite" in text
    assert "The quarantine matches several cases." in text


async def test_case_without_recent_results_has_a_page(signed_in: Browser) -> None:
    path = await store_history(signed_in, failed())
    await signed_in.api.send("DELETE", "/v1/runs/run_0")
    text = main_text(await signed_in.open(path))
    assert "No results" in text
    assert "The newest runs of the project don't contain this case." in text


async def test_results_of_a_case_in_few_runs_are_found(signed_in: Browser) -> None:
    """The pages of the history of such a case are short, because each page examines a limited number of runs."""
    others = [run_event(f"run_{number}", [], time="2026-05-20T10:00:00Z") for number in range(450)]
    old = [run_event(f"old_{number}", [failed()], time="2026-05-20T09:00:00Z") for number in range(2)]
    await signed_in.api.store.ingest(*others, *old)
    [case, _] = (await signed_in.api.get("/v1/results", {"status": "failed"}))["data"]
    text = main_text(await signed_in.open(f"/console/cases/{case['case']}"))
    assert "Last 2 results: 2 failed" in text
    assert "100% 2 of 2" in text


async def test_result_that_passed_in_a_later_attempt_is_not_shown_as_passed(signed_in: Browser) -> None:
    attempts = [{"status": "failed", "failure": {"message": "slow"}}, {"status": "passed"}]
    await signed_in.api.store.ingest(run_event("run_1", [result("pays", attempts=attempts)]))
    [case] = (await signed_in.api.get("/v1/cases", {"project_id": "shop"}))["data"]
    page = await signed_in.open(f"/console/cases/{case['id']}")
    head = text_of(page.partition('class="page-head"')[2].partition('class="panel"')[0])
    assert "Flaky" in head
    assert "Passed" not in head


async def test_file_is_a_link_to_the_commit_of_the_newest_run(signed_in: Browser) -> None:
    commits, repository = ["a" * 40, "b" * 40], "https://github.com/acme/shop"
    for number, commit in enumerate(commits):
        case = failed("boom", file="tests/test_cart.py", line=7 + number)
        source = {"repository_url": repository, "commit_sha": commit, "branch": "main"}
        await signed_in.api.store.ingest(
            run_event(f"run_{number}", [case], time=f"2026-05-20T1{number}:00:00Z", **source)
        )
    case_id = (await signed_in.api.get("/v1/results"))["data"][0]["case"]
    path, link = (
        f"/console/cases/{case_id}",
        '<a class="wrap" href="{}" rel="noopener noreferrer nofollow"><code>{}</code>',
    )
    page = await signed_in.open(path)
    assert link.format(f"{repository}/blob/{commits[1]}/tests/test_cart.py#L8", "tests/test_cart.py:8") in page
    pattern = {"code_url_pattern": "https://code.example.com/{commit}/{file}?l={line}"}
    assert (await signed_in.api.send("PATCH", "/v1/projects/shop", json=pattern)).status == 200
    assert f'href="https://code.example.com/{commits[1]}/tests/test_cart.py?l=8"' in await signed_in.open(path)
    await signed_in.api.store.pool.execute(
        "UPDATE runs SET commit_sha = NULL, field_versions = field_versions - 'commit_sha'"
    )
    page = await signed_in.open(path)
    assert '<code class="wrap">tests/test_cart.py:8</code>' in page
    assert "code.example.com" not in page
