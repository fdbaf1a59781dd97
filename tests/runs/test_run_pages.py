"""The pages of one run: changes, results, what the run lacks, and received reports."""

import re
from html import escape
from typing import Any
from uuid import UUID

import pytest

from service.identity.keys.model import KeyRole
from tests.console.browsers import RUNS, Browser
from tests.console.sections import main_text, section, section_html, text_of
from tests.run_events import result, run_event
from tests.runs.run_history import RUN, decide, event, failing, ingest_history, put_gate

CHANGES = ("new_failure", "flaky_failure", "known_failure", "quarantined", "fixed", "added", "removed")


async def test_every_result_is_under_the_heading_of_its_change(signed_in: Browser) -> None:
    await ingest_history(signed_in)
    page = await signed_in.open(RUN)
    sections = {change: section(page, change) for change in CHANGES}
    names = {
        change: re.findall(r"breaks|fails|unstable|excused|repaired|starts|gone", text)
        for change, text in sections.items()
    }
    assert names == {
        "new_failure": ["breaks"],
        "flaky_failure": ["unstable"],
        "known_failure": ["fails"],
        "quarantined": ["excused"],
        "fixed": ["repaired"],
        "added": ["starts"],
        "removed": ["gone"],
    }
    assert sections["new_failure"].startswith("New failures 1")
    assert "expected 1, got 2 <b> Passed in all 3 runs on main" in sections["new_failure"]
    assert "Failed in 2 of 3 runs on main, failing since run run_2" in sections["known_failure"]
    assert "Failed in 1 and was flaky in 1 of 3 runs on main" in sections["flaky_failure"]
    assert "ticket is open Show quarantine" in sections["quarantined"]
    assert "Compared with run_3 on main" in section(page, "comparison")
    assert page.index('id="decisions"') < page.index('id="comparison"') < page.index('id="new_failure"')


async def test_first_run_is_not_compared_and_has_no_new_failures(signed_in: Browser) -> None:
    await signed_in.api.store.ingest(event(4, "breaks", "starts"))
    page = await signed_in.open(RUN)
    assert "Not compared: there is no earlier complete run" in section(page, "comparison")
    assert "1 Failures" in section(page, "comparison")
    assert section(page, "new_failure").startswith("Failures 1 breaks")
    assert "runs on" not in section(page, "new_failure")
    assert section(page, "added") == ""
    changes = await signed_in.open(f"{RUN}/changes")
    for text in (main_text(page), main_text(changes)):
        assert "New failure" not in text.replace("Change New failure", "")


async def ingest_jobs(browser: Browser) -> None:
    """Store a run of main with three jobs, and run_4, in which only one of them sent results."""
    for job in ("api", "ui", "worker"):
        await browser.api.store.ingest(event(3, "", f"{job}_test", part=job, attempt=1))
    await browser.api.store.ingest(event(4, "", "api_test", part="api", attempt=1))


async def test_missing_jobs_are_stated_before_everything_else(signed_in: Browser) -> None:
    await ingest_jobs(signed_in)
    await put_gate(signed_in, max_missing_parts=None, max_failures=0)
    await decide(signed_in)
    page = await signed_in.open(RUN)
    text = main_text(page)
    assert "2 of 3 jobs sent no results: ui; worker." in text
    first = page.index("sent no results")
    assert first < page.index('id="decisions"') < page.index('id="removed"')
    assert "Sent no results" in section(page, "parts")
    assert section(page, "parts").index("worker") < section(page, "parts").index("api")
    assert "2 of 3 jobs sent no results" in main_text(await signed_in.open(f"{RUN}/changes"))


async def test_run_without_all_results_has_no_green_badge(signed_in: Browser) -> None:
    await ingest_jobs(signed_in)
    await put_gate(signed_in, max_missing_parts=None, max_failures=0)
    await decide(signed_in)
    for path in (RUN, f"{RUN}/changes", f"{RUN}/results"):
        page = await signed_in.open(path)
        head = page.partition('<div class="row title">')[2].partition("</div>")[0]
        assert "tone-passed" not in head
    page = await signed_in.open(RUN)
    assert "Results missing" in page
    assert "tone-passed" not in section_html(page, "decisions") + section_html(page, "removed")
    assert "Passed in the baseline" in section(page, "removed")


async def test_removed_tests_are_first_only_if_jobs_are_missing(signed_in: Browser) -> None:
    await ingest_jobs(signed_in)
    await signed_in.api.store.ingest(event(4, "breaks", "api_test", part="api", attempt=2))
    page = await signed_in.open(RUN)
    assert page.index('id="removed"') < page.index('id="new_failure"')
    await ingest_history(signed_in)
    page = await signed_in.open(f"{RUNS}/run_4")
    assert page.index('id="new_failure"') < page.index('id="removed"')


@pytest.mark.parametrize("role", ["viewer", "uploader"])
async def test_run_with_an_unprocessed_report_is_not_green(browser: Browser, role: KeyRole) -> None:
    await browser.api.store.ingest(run_event("run_4"))
    report: dict[str, Any] = {"results": []}
    assert (await browser.api.send("POST", "/v1/runs/run_4/report?project_id=shop", json=report)).status == 202
    await browser.sign_in((await browser.api.make_key(role)).key)
    page = await browser.open(RUN)
    assert "A report is being processed." in main_text(page)
    head = page.partition('<div class="row title">')[2].partition("</div>")[0]
    assert "Processing reports" in head
    assert "tone-passed" not in head
    assert "data-live=" in page


async def test_results_with_the_same_failure_are_one_item(signed_in: Browser) -> None:
    names = ["a", "b"]
    failures = [failing(name, variant={"os": os}) for name in names for os in ("linux", "mac")]
    await signed_in.api.store.ingest(run_event("run_4", failures))
    page = section_html(await signed_in.open(RUN), "new_failure")
    assert page.count("expected 1, got 2") == 1
    assert page.count('class="name wrap"') == len(names)
    assert page.count("os: mac") == len(names)


async def test_runs_of_others_are_not_found(browser: Browser) -> None:
    await browser.api.make_organization("other")
    await browser.api.store.ingest(
        run_event("run_5", organization="other"), run_event("run_6", project_id="blog"), run_event("run_7")
    )
    await browser.sign_in((await browser.api.make_key(project_id="shop")).key)
    for run_id, status in (("run_5", 404), ("run_6", 404), ("run_8", 404), ("run%00", 404), ("run_7", 200)):
        for page in ("", "/changes", "/results", "/results?status=good"):
            expected = 400 if status == 200 and "good" in page else status
            await browser.open(f"{RUNS}/{run_id}{page}", expected)


async def test_incomplete_run_states_what_is_missing_and_is_live(signed_in: Browser) -> None:
    await put_gate(signed_in)
    store = signed_in.api.store
    before = run_event("run_3", [result("a"), result("b1")], branch="main", time="2026-05-20T09:00:00Z")
    await store.ingest(before, run_event("run_4", [result("a")], branch="main", expected_shards=3, shard=2))
    page = await signed_in.open(RUN)
    assert "sent no results" not in main_text(page) + main_text(await signed_in.open(f"{RUN}/changes"))
    assert section(page, "parts") == (
        "Jobs Job Shard Results No job name No shard Not yet received Shard 1 1 Not yet received"
        " Shard 3 3 Not yet received Shard 2 2 Received"
    )
    assert "The run isn't complete. 1 of 3 shards arrived. Shards 1 and 3 are missing. A gate" in main_text(page)
    assert 'data-live="/console/stream?run_id=run_4"' in page
    assert f"{RUN}/decisions" not in page
    for shard in (1, 3):
        await store.ingest(run_event("run_4", [result(f"b{shard}")], shard=shard))
    page = await signed_in.open(RUN)
    assert "isn't complete" not in main_text(page)
    assert "data-live=" not in page


async def test_shard_that_an_earlier_run_had_is_listed_once_until_it_arrives(signed_in: Browser) -> None:
    store = signed_in.api.store
    for shard in (1, 2):
        await store.ingest(event(3, "", f"test_{shard}", part="ui", attempt=1, shard=shard, expected_shards=2))
    await store.ingest(event(4, "", "test_1", part="ui", attempt=1, shard=1, expected_shards=2))
    assert section(await signed_in.open(RUN), "parts") == "Jobs Job Shard Results ui 2 Not yet received ui 1 Received"


async def test_missing_shards_are_listed_up_to_a_limit(signed_in: Browser) -> None:
    await signed_in.api.store.ingest(run_event("run_4", expected_shards=1_000, shard=3))
    listed = section(await signed_in.open(RUN), "parts")
    assert listed.startswith("Jobs Job Shard Results Shard 1 1 Not yet received Shard 2 2 Not yet received Shard 4 4")
    assert listed.endswith("Shard 51 51 Not yet received 950 more jobs aren't listed.")


async def test_results_that_an_incomplete_run_can_still_get_are_folded_after_all_others(signed_in: Browser) -> None:
    for job in ("api", "ui", "worker"):
        await signed_in.api.store.ingest(event(3, "", f"{job}_test", part=job, attempt=1))
    await signed_in.api.store.ingest(event(4, "breaks", "api_test", part="api", attempt=1, final=False))
    page = await signed_in.open(RUN)
    assert page.index('id="new_failure"') < page.index('id="removed"')
    assert "2 Not yet received" in section(page, "comparison")
    folded = section_html(page, "removed")
    assert text_of(folded.partition("<details")[0]).startswith("Not yet received 2 The baseline has these results.")
    assert "ui_test" in text_of(folded.partition("<details")[2].partition("</details>")[0])
    changes = main_text(await signed_in.open(f"{RUN}/changes"))
    assert "Not yet received 2" in changes
    assert "Removed 2" not in main_text(page) + changes


async def test_incomplete_run_states_the_number_of_results(signed_in: Browser) -> None:
    store = signed_in.api.store
    await store.ingest(run_event("run_4", expected_results=3), run_event("run_5", final=False))
    assert "1 of 3 results arrived." in await signed_in.open(RUN)
    assert "The last event of the run hasn't arrived." in (await signed_in.open(f"{RUNS}/run_5")).replace("&#39;", "'")


async def test_run_without_results_and_canceled_run_are_shown(signed_in: Browser) -> None:
    store = signed_in.api.store
    await store.ingest(run_event("run_4", [], status="passed"), run_event("run_5", [result("a", "canceled")]))
    assert "No results" in section(await signed_in.open(RUN), "comparison")
    assert "No event or report" in main_text(await signed_in.open(f"{RUN}/results"))
    assert "Canceled" in main_text(await signed_in.open(f"{RUNS}/run_5"))


async def test_run_whose_results_have_expired_is_shown(signed_in: Browser) -> None:
    store = signed_in.api.store
    await store.ingest(run_event("run_4"))
    await store.pool.execute("UPDATE runs SET results_expired = true")
    assert "have been deleted" in main_text(await signed_in.open(RUN))
    assert (await signed_in.send("GET", f"{RUN}/changes")).status == 410


async def test_declared_failures_that_are_missing_are_stated(signed_in: Browser) -> None:
    await signed_in.api.store.ingest(run_event("run_4", [result("a")], status="failed"))
    assert "Failures are missing" in main_text(await signed_in.open(RUN))


async def test_changes_have_pages(signed_in: Browser) -> None:
    await ingest_history(signed_in)
    url, seen = f"{RUN}/changes?limit=3&change=new_failure&change=fixed&change=removed&change=added", []
    while url:
        page = await signed_in.open(url)
        seen += re.findall(r'class="name wrap"[^>]*>(\w+)', page)
        following = re.search(r'<a class="button" href="([^"]+)" rel="next"', page)
        url = following[1].replace("&amp;", "&") if following else ""
    assert seen == ["breaks", "repaired", "starts", "gone"]
    assert "change: must be" in main_text(await signed_in.open(f"{RUN}/changes?change=unknown", 400))


async def test_results_are_sorted_by_suite_and_have_pages(signed_in: Browser) -> None:
    results = [result(f"case{number:02}", suite=f"s{number % 3}", duration_ms=number) for number in range(12)]
    await signed_in.api.store.ingest(run_event("run_4", results))
    names = sorted((f"s{number % 3}", f"case{number:02}") for number in range(12))
    url, seen = f"{RUN}/results?limit=5", []
    while url:
        page = await signed_in.open(url)
        seen += re.findall(r'class="name wrap"[^>]*>(\w+)', page)
        following = re.search(r'<a class="button" href="([^"]+)" rel="next"', page)
        url = following[1].replace("&amp;", "&") if following else ""
    assert seen == [name for _, name in names]
    page = await signed_in.open(f"{RUN}/results?sort=-duration_ms&q=case1&run_id=run_9")
    assert re.findall(r'class="name wrap"[^>]*>(\w+)', page) == ["case11", "case10"]
    assert "No results match" in await signed_in.open(f"{RUN}/results?q=nothing")


async def test_results_of_each_file_and_suite_are_under_one_heading(signed_in: Browser) -> None:
    cases = (("a.py", "math"), ("b.py", "auth"), ("b.py", "math"), ("b.py", ""), (None, "math"), (None, ""))
    results = [
        result(f"case{number}{index}", suite=suite, file=file)
        for index, (file, suite) in enumerate(cases) for number in range(2)
    ]  # fmt: skip
    await signed_in.api.store.ingest(run_event("run_4", results))
    page = await signed_in.open(f"{RUN}/results")
    headings = [text_of(heading) for heading in re.findall(r'<tr class="group">(.*?)</tr>', page)]
    assert sorted(headings) == ["No suite", "auth b.py", "b.py", "math", "math a.py", "math b.py"]
    assert len(re.findall(r'class="name wrap"', page)) == 12


async def test_failure_group_leads_to_its_results(signed_in: Browser) -> None:
    await signed_in.api.store.ingest(event(4, "breaks fails", "starts"))
    found = re.search(r"/console/runs/run_4/results\?fingerprint=fp1_\w+", await signed_in.open(RUN))
    assert found is not None
    page = await signed_in.open(found[0])
    assert sorted(re.findall(r'class="name wrap"[^>]*>(\w+)', page)) == ["breaks", "fails"]


async def test_received_reports_are_listed_with_their_part_and_sender(signed_in: Browser) -> None:
    await signed_in.api.store.ingest(run_event("run_4"))
    text = section(await signed_in.open(RUN), "reports")
    assert "Stored" in text
    assert "No shard or variant" in text
    await signed_in.api.store.pool.execute(
        """UPDATE receipts SET part = 'e2e', shard = 2, variant = '{"os": "linux"}'"""
    )
    assert "e2e Shard 2 os: linux" in section(await signed_in.open(RUN), "reports")
    publisher = {"provider": "buildkite", "project_id": "shop", "role": "uploader", "name": "<CI>"}
    claims = {"organization_id": str(UUID(int=1)), "pipeline_id": str(UUID(int=2))}
    created = await signed_in.api.send("POST", "/v1/publishers", json={**publisher, "claims": claims})
    publisher_id = (await created.json())["id"]
    sent_by = "UPDATE receipts SET publisher_id = $1, job = $2"
    await signed_in.api.store.pool.execute(sent_by, publisher_id, "https://ci.example/7")
    page = await signed_in.open(RUN)
    assert "by <CI> , CI job" in section(page, "reports")
    assert 'href="https://ci.example/7"' in page
    receipts = (await signed_in.api.get("/v1/receipts", {"run_id": "run_4"}))["data"]
    assert [receipt["publisher_name"] for receipt in receipts] == ["<CI>"]
    await signed_in.api.store.pool.execute(sent_by, publisher_id, "javascript:alert(1)")
    assert 'href="javascript:' not in await signed_in.open(RUN)


async def test_run_without_an_accepted_report_shows_why(signed_in: Browser) -> None:
    report: dict[str, Any] = {"results": []}
    assert (await signed_in.api.send("POST", "/v1/runs/run_4/report?project_id=shop", json=report)).status == 202
    response = await signed_in.send("GET", RUN)
    assert response.status == 404
    page = await response.text()
    assert "The run isn't stored yet." in main_text(page)
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in page
    assert 'data-live-interval="2"' in page
    problem = """'[{"index": null, "name": null, "reason": "malformed_report: not XML"}]'"""
    await signed_in.api.store.pool.execute(f"UPDATE receipts SET status = 'rejected', problems = {problem}")
    page = await (await signed_in.send("GET", RUN)).text()
    assert "Its reports were rejected." in main_text(page)
    assert "refresh" not in page
    assert "data-live-interval" not in page
    assert "malformed_report: not XML" in section(page, "reports")
    assert "The run isn't stored" not in await (await signed_in.send("GET", f"{RUN}0")).text()


async def sign_in(browser: Browser, key: Any) -> None:
    browser.api.http.session.cookie_jar.clear()
    await browser.sign_in(key.key)


async def test_viewer_learns_what_happened_to_a_report_without_its_receipt(browser: Browser) -> None:
    api = browser.api
    report: dict[str, Any] = {"results": []}
    assert (await api.send("POST", "/v1/runs/run_4/report?project_id=shop", json=report)).status == 202
    await browser.sign_in((await api.make_key("viewer")).key)
    page = await browser.open(RUN, 404)
    assert "The run isn't stored yet." in main_text(page)
    assert 'data-live-interval="2"' in page
    problem = """'[{"index": null, "name": null, "reason": "malformed_report: not XML"}]'"""
    await api.store.pool.execute(f"UPDATE receipts SET status = 'rejected', problems = {problem}")
    page = await browser.open(RUN, 404)
    shown = "Its reports were rejected. Users with the role uploader or engineer or admin can read why."
    assert f"The run isn't stored. {shown}" in main_text(page)
    [receipt] = (await api.get("/v1/receipts", {"run_id": "run_4"}))["data"]
    for secret in ("malformed_report", receipt["id"][:16], "Received reports"):
        assert secret not in page
    for role in ("viewer", "engineer"):
        await sign_in(browser, await api.make_key(role, project_id="blog"))
        assert "run 'run_4' not found" in main_text(await browser.open(RUN, 404))


async def test_run_that_was_deleted_is_not_waited_for(signed_in: Browser) -> None:
    await signed_in.api.store.ingest(run_event("run_4"))
    await signed_in.api.send("DELETE", "/v1/runs/run_4")
    page = await (await signed_in.send("GET", RUN)).text()
    assert "The run doesn't exist anymore." in main_text(page)
    assert "data-live-interval" not in page


@pytest.mark.parametrize("run_id", ["run%00", "r" * 201])
async def test_id_that_no_run_can_have_is_not_found(signed_in: Browser, run_id: str) -> None:
    for page in ("", "/changes", "/results"):
        assert "not found" in main_text(await signed_in.open(f"{RUNS}/{run_id}{page}", 404))


@pytest.mark.parametrize("fields", [{}, {"status": "passed"}])
async def test_run_without_results_states_this(signed_in: Browser, fields: dict[str, str]) -> None:
    await signed_in.api.store.ingest(run_event("run_4", results=[], **fields))
    text = main_text(await signed_in.open(RUN))
    assert "The run has no results. Gates block it." in text
    assert ("--allow-empty" in text) is (not fields)


async def test_only_web_addresses_are_links(signed_in: Browser) -> None:
    await signed_in.api.store.ingest(run_event("run_4", ci_url="https://ci.example.com/1", labels={"team": "web"}))
    page = await signed_in.open(RUN)
    assert 'href="https://ci.example.com/1"' in page
    assert "team: web" in main_text(page)


async def test_only_the_first_results_of_each_change_are_listed(signed_in: Browser) -> None:
    names = [f"breaks{number:02}" for number in range(22)]
    await signed_in.api.store.ingest(
        event(3, "", "other"), event(4, " ".join(names), " ".join(f"starts{n:02}" for n in range(40)))
    )
    page = await signed_in.open(RUN)
    assert len(re.findall(r"breaks\d\d", section(page, "new_failure"))) == 20
    assert len(re.findall(r"starts\d\d", section(page, "added"))) == 20
    assert "New failures 22" in section(page, "new_failure")
    assert "Show all 22" in section(page, "new_failure")
    assert f'href="{RUN}/changes?change=new_failure"' in page


async def test_run_with_a_rejected_report_is_green_for_no_role(signed_in: Browser) -> None:
    api = signed_in.api
    await api.store.ingest(event(3, "", "pays"), event(4, "", "pays"))
    report: dict[str, Any] = {"results": []}
    assert (await api.send("POST", "/v1/runs/run_4/report?project_id=shop", json=report)).status == 202
    problem = """'[{"index": null, "name": null, "reason": "not XML"}]'"""
    await api.store.pool.execute(
        f"UPDATE receipts SET status = 'rejected', problems = {problem} WHERE status = 'queued'"
    )
    assert "Results can be missing: a report was rejected, and" in main_text(await signed_in.open(RUN))
    await sign_in(signed_in, await api.make_key("viewer"))
    page = await signed_in.open(RUN)
    text = main_text(page)
    assert "run_4 Results missing main" in text
    assert "a report was rejected. Users with the role uploader or engineer or admin can read why." in text
    assert "not XML" not in page


async def test_ticket_of_a_quarantine_is_a_link(signed_in: Browser) -> None:
    await ingest_history(signed_in)
    api = signed_in.api
    [quarantine] = (await api.get("/v1/quarantines"))["data"]
    path, url = f"/v1/quarantines/{quarantine['id']}", "https://tickets.example.com/7?a=1&b=2"
    assert (await api.send("PATCH", path, json={"ticket_url": url})).status == 200
    result_id = re.findall(r'href="(/console/results/[^"]+)">excused<', await signed_in.open(RUN))[0]
    link = f'<a class="wrap" href="{escape(url)}" rel="noopener noreferrer nofollow">'
    for page in (RUN, f"{RUN}/changes", result_id, f"/console/quarantines/{quarantine['id']}", "/console/quarantines"):
        assert link in await signed_in.open(page), page
    await api.store.pool.execute("UPDATE quarantines SET ticket_url = 'javascript:alert(1)'")
    for page in (RUN, f"{RUN}/changes", result_id):
        assert 'href="javascript' not in await signed_in.open(page), page
