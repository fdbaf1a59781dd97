"""The decisions on the page of a run, and the forms of gates."""

from typing import Any

from service.mutations import store as mutations_store
from tests.console.browsers import RUNS, Browser, token_of
from tests.console.sections import main_text, section, section_html
from tests.runs.run_history import RUN, decide, event, ingest_history, put_gate


async def test_form_offers_the_gate_of_the_decision_that_is_shown(signed_in: Browser) -> None:
    await ingest_history(signed_in)
    await put_gate(signed_in, "always", max_failures=100)
    await put_gate(signed_in, "release")
    assert "selected" not in section_html(await signed_in.open(RUN), "decisions")
    await decide(signed_in)
    assert "<option selected>release</option>" in await signed_in.open(RUN)


async def test_decision_is_shown_only_if_one_is_stored(signed_in: Browser) -> None:
    await ingest_history(signed_in)
    assert "No gate exists" in section(await signed_in.open(RUN), "decisions")
    await put_gate(signed_in)
    assert "No gate has decided" in section(await signed_in.open(RUN), "decisions")
    await decide(signed_in)
    text = section(await signed_in.open(RUN), "decisions")
    assert "Gate blocked release" in text
    assert "New failures: 1, at most 0 allowed" in text
    assert "No gate" not in text


async def test_newest_decision_of_each_gate_is_shown(signed_in: Browser) -> None:
    await ingest_history(signed_in)
    await put_gate(signed_in)
    await put_gate(signed_in, "health", max_failures=100)
    await decide(signed_in)
    await decide(signed_in, "health")
    await put_gate(signed_in, max_new_failures=1)
    await decide(signed_in)
    text = section(await signed_in.open(RUN), "decisions")
    assert "Gate blocked" not in text
    assert text.count("Gate passed") == 2
    assert "New failures: 1, at most 1 allowed" in text


async def test_recorded_decisions_are_shown_without_a_waiver(signed_in: Browser) -> None:
    await ingest_history(signed_in)
    await put_gate(signed_in)
    for limit in (0, 1, 0):
        body = {"policy": {"max_new_failures": limit}, "record": True}
        await signed_in.api.send("POST", "/v1/runs/run_4/decisions", json=body)
    text = section(await signed_in.open(RUN), "decisions")
    assert text.count("Limits of the command gate") == 2
    assert (text.count("Gate blocked"), text.count("Gate passed")) == (1, 1)
    assert "None" not in text
    assert "Waive" not in text


async def test_decision_about_an_older_revision_is_marked(signed_in: Browser) -> None:
    await ingest_history(signed_in)
    await put_gate(signed_in)
    await decide(signed_in)
    assert "has changed since" not in await signed_in.open(RUN)
    await signed_in.api.store.ingest(event(4, "", "breaks more"))
    assert (
        "The run has changed since this decision, which applies to its version 1. The run now has version 2."
        in section(await signed_in.open(RUN), "decisions")
    )


async def test_form_applies_a_gate_like_the_api(browser: Browser) -> None:
    await ingest_history(browser)
    await put_gate(browser)
    await browser.sign_in((await browser.api.make_key("uploader", name="Release job")).key)
    token = token_of(await browser.open(RUN))
    for _ in range(2):
        response = await browser.post(f"{RUN}/decisions", {"form_token": token, "gate": "release"})
        assert (response.status, response.headers["Location"]) == (303, RUN)
    stored = (await browser.api.get("/v1/decisions", {"run_id": "run_4"}))["data"]
    assert [(decision["gate"], decision["decision"]) for decision in stored] == [("release", "blocked")]
    assert await actions(browser, "decisions") == ["POST /console/runs/run_4/decisions"]
    assert ' by key "Release job" ' in section(await browser.open(RUN), "decisions")


async def test_viewer_can_not_store_a_decision(browser: Browser) -> None:
    await ingest_history(browser)
    await put_gate(browser)
    await browser.sign_in((await browser.api.make_key("viewer")).key)
    page = await browser.open(RUN)
    assert f'action="{RUN}/decisions"' not in page
    response = await browser.post(f"{RUN}/decisions", {"form_token": token_of(page), "gate": "release"})
    assert response.status == 403
    assert (await browser.api.get("/v1/decisions"))["data"] == []


async def test_version_of_the_run_is_not_that_of_the_gate(signed_in: Browser) -> None:
    await ingest_history(signed_in)
    await put_gate(signed_in)
    await decide(signed_in)
    page = await signed_in.open(RUN)
    assert "release Version 1 of the gate" in section(page, "decisions")
    assert "until the run changes" in section(page, "decisions")
    details = section(page, "details")
    assert "Version 1" in details
    assert "Revision" not in details


async def actions(browser: Browser, name: str) -> list[str]:
    async with browser.api.store.pool.acquire() as connection:
        entries = await mutations_store.list_newest(connection, browser.api.org_id, 20)
    return [entry["action"] for entry in entries if name in entry["action"]]


async def test_forms_of_gates_reject_invalid_requests(signed_in: Browser) -> None:
    await ingest_history(signed_in)
    await put_gate(signed_in)
    decision = await decide(signed_in)
    token = token_of(await signed_in.open(RUN))
    for path, fields, status in (
        (f"{RUN}/decisions", {"gate": "release"}, 403),
        (f"{RUN}/decisions", {"form_token": "0" * 64, "gate": "release"}, 403),
        (f"{RUN}/decisions", {"form_token": token, "gate": "unknown"}, 404),
        (f"{RUN}/decisions", {"form_token": token, "gate": ""}, 400),
        (f"{RUN}/decisions", {"form_token": token}, 400),
        (f"{RUN}/decisions", {"form_token": token, "gate": "release", "policy": "x"}, 400),
        (f"{RUNS}/run_9/decisions", {"form_token": token, "gate": "release"}, 404),
        (waiver(decision), {"reason": "urgent"}, 403),
        (waiver(decision), {"form_token": token, "reason": " "}, 400),
        (waiver(decision), {"form_token": token, "reason": "x" * 1001}, 400),
        (waiver({"id": "dec_0"}), {"form_token": token, "reason": "urgent"}, 404),
    ):
        response = await signed_in.post(path, fields)
        assert (response.status, response.content_type) == (status, "text/html"), (path, fields)
    response = await signed_in.post(waiver(decision), {"form_token": token, "reason": "x" * 1001})
    assert "Reason: must have at most 1000 characters" in await response.text()
    assert "Gate blocked" in section(await signed_in.open(RUN), "decisions")


def waiver(decision: dict[str, Any]) -> str:
    return f"/console/decisions/{decision['id']}/waiver"


async def test_admin_waives_a_blocked_decision(signed_in: Browser) -> None:
    await ingest_history(signed_in)
    await put_gate(signed_in)
    decision = await decide(signed_in)
    page = await signed_in.open(RUN)
    assert f'action="{waiver(decision)}"' in page
    fields = {"form_token": token_of(page), "reason": "known by the team"}
    response = await signed_in.post(waiver(decision), fields)
    assert (response.status, response.headers["Location"]) == (303, RUN)
    page = await signed_in.open(RUN)
    assert "Gate waived" in section(page, "decisions")
    assert 'by key "test" : known by the team' in section(page, "decisions")
    assert waiver(decision) not in page
    assert (await signed_in.post(waiver(decision), fields)).status == 409
    assert await actions(signed_in, "waiver") == [f"POST {waiver(decision)}"]


async def test_roles_without_the_permission_can_not_waive(browser: Browser) -> None:
    await ingest_history(browser)
    await put_gate(browser)
    decision = await decide(browser)
    for role in ("viewer", "uploader"):
        await browser.sign_in((await browser.api.make_key(role)).key)
        page = await browser.open(RUN)
        assert "Waive" not in main_text(page)
        assert ("Received reports" in page) == (role == "uploader")
        response = await browser.post(waiver(decision), {"form_token": token_of(page), "reason": "urgent"})
        assert response.status == 403
        await browser.post("/console/sign-out", {"form_token": token_of(page)})


async def test_page_of_a_run_shows_its_excuses(signed_in: Browser) -> None:
    api = signed_in.api
    await ingest_history(signed_in)
    assert 'id="excuses"' not in await signed_in.open(RUN)
    body = {"receipts": [each["id"] for each in (await api.get("/v1/receipts", {"run_id": "run_4"}))["data"]]}
    await api.send("POST", "/v1/runs/run_4/excuses", json=body)
    text = section(await signed_in.open(RUN), "excuses")
    assert "Not excused No job name" in text
    assert "No active quarantine names these failing tests exactly" in text
    assert 'by key "test"' in text
    query = [("run_id", "run_4"), ("status", "failed"), ("status", "error")]
    for each in (await api.get("/v1/results", query))["data"]:
        quarantine = {"case": each["case"], "reason": "unstable <b>"}
        quarantine_id = (await (await api.send("POST", "/v1/quarantines", json=quarantine)).json())["id"]
    excuse = await (await api.send("POST", "/v1/runs/run_4/excuses", json=body | {"allow_missing_cases": True})).json()
    assert excuse["excused"], excuse
    html = section_html(await signed_in.open(RUN), "excuses")
    assert html.count("Not excused") == 1
    assert f'href="/console/quarantines/{quarantine_id}"' in html
    await signed_in.api.store.ingest(event(4, "", "breaks more"))
    assert "Version 1 of the run" in section(await signed_in.open(RUN), "excuses")
