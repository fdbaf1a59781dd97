"""Untrusted runs in the console: a mark on each of their pages, no place in other lists, and their promotion."""

import re
from pathlib import Path
from urllib.parse import quote

import pytest

from service.runs import overview
from tests import forks
from tests.console.browsers import RUNS, Browser, token_of
from tests.console.sections import main_text
from tests.runs.run_history import RUN, event, ingest_history, put_gate

COMMIT = "c" * 40
PROMOTION = f"{RUN}/promotion"


async def test_untrusted_run_is_marked(signed_in: Browser) -> None:
    await ingest_history(signed_in)
    await put_gate(signed_in)
    await signed_in.api.store.pool.execute("UPDATE runs SET trusted = false WHERE run_id = 'run_4'")
    assert RUN not in await signed_in.open(RUNS)
    page = await signed_in.open(f"{RUNS}?trusted=false")
    assert RUN in page
    assert f"{RUNS}/run_3" not in page
    assert "Untrusted" in main_text(page)
    page = await signed_in.open(RUN)
    assert "This run is untrusted." in main_text(page)
    assert "Apply gate" not in main_text(page)
    results = await signed_in.open(f"{RUN}/results")
    assert "/console/results/res_" in results
    for path in (f"{RUN}/changes", f"{RUN}/results", results.split('href="/console/results/')[1].split('"')[0]):
        path = path if path.startswith("/") else f"/console/results/{path}"
        assert "Untrusted" in main_text(await signed_in.open(path)), path


async def test_selected_reports_are_promoted(database_url: str, tmp_path: Path) -> None:
    async with forks.serving_fork(database_url, tmp_path) as fork:
        browser = Browser(fork.reports.api)
        await browser.sign_in()
        await put_gate(browser)
        receipt = await fork.upload()
        await fork.upload(body=b"<broken")
        other = await fork.upload(body=forks.REPORT.replace(b'<failure message="evil"/>', b""), commit_sha="d" * 40)
        run = f"{RUNS}/{quote(forks.RUN, safe='')}"
        page = await browser.open(run)
        assert set(re.findall(r'name="receipts" value="(\w+)">', page)) == {receipt["id"], other["id"]}
        [revision] = re.findall(r'name="revision" value="(\d+)"', page)
        assert '<input name="commit_sha" required>' in page  # the newest report can be that of a stranger
        named = {"form_token": token_of(page), "receipts": receipt["id"]}
        fields = named | {"commit_sha": forks.COMMIT, "revision": revision}
        target = f"{run}/promotion"
        assert (await browser.post(target, fields | {"revision": str(int(revision) + 1)})).status == 409
        assert (await browser.post(target, fields | {"receipts": other["id"]})).status == 409
        assert (await browser.post(target, named)).status == 400
        assert (await browser.post(target, {**fields, "receipts": ""})).status == 400
        response = await browser.post(target, fields)
        assert (response.status, response.headers["Location"]) == (303, run)
        await fork.reports.wait_until_finished(receipt)
        page = await browser.open(run)
        assert "This run is untrusted." not in main_text(page)
        assert "Apply gate" in main_text(page)
        assert other["id"] not in page
        assert run in await browser.open(RUNS)
        assert (await browser.post(target, fields)).status == 303  # a repeated click


async def test_uploads_of_strangers_prevent_no_promotion(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger uploads after the page is shown, and so many reports that the page doesn't list that of the fork."""
    monkeypatch.setattr(overview, "_RECEIPTS", 1)
    async with forks.serving_fork(database_url, tmp_path) as fork:
        browser = Browser(fork.reports.api)
        await browser.sign_in()
        run = f"{RUNS}/{quote(forks.RUN, safe='')}"
        first, second = await fork.upload(part="unit"), await fork.upload(part="e2e")
        page = await browser.open(run)
        [revision] = re.findall(r'name="revision" value="(\d+)"', page)
        assert re.findall(r'name="receipts" value="(\w+)"', page) == [second["id"]]
        assert 'name="receipts" type="text"' in page
        await fork.upload(body=forks.REPORT.replace(b"evil.py", b"other.py"), branch="other")
        await fork.upload(body=b"<broken")
        later = await browser.open(run)  # the newest report is the broken one
        assert ('value="rcp_' in later, 'name="receipts" type="text"' in later) == (False, True)
        fields = {"form_token": token_of(page), "commit_sha": forks.COMMIT, "revision": revision}
        fields["receipts"] = f" {first['id']} {second['id']}\t"  # as the log of the job lists them
        pool, of_first = fork.reports.api.store.pool, f"WHERE receipt_id = '{first['id']}'"
        await pool.execute(f"UPDATE receipts SET status = 'queued', due_at = 'infinity' {of_first}")
        unread = await browser.post(f"{run}/promotion", fields)
        assert (unread.status, "t stored yet" in await unread.text()) == (409, True)
        await pool.execute(f"UPDATE receipts SET status = 'stored', due_at = NULL {of_first}")
        assert (await browser.post(f"{run}/promotion", fields)).status == 303
        for receipt in (first, second):
            await fork.reports.wait_until_finished(receipt)
        promoted = await fork.reports.api.get(f"/v1/runs/{forks.RUN}")
        assert (promoted["complete"], promoted["branch"], promoted["counts"]["failed"]) == (True, "fork:main", 1)


async def test_roles_without_the_permission_can_not_promote(browser: Browser) -> None:
    await browser.api.store.ingest(event(4, "fails", "passes", commit_sha=COMMIT))
    await browser.api.store.pool.execute("UPDATE runs SET trusted = false")
    await browser.sign_in((await browser.api.make_key("uploader")).key)
    page = await browser.open(RUN)
    assert "This run is untrusted." in main_text(page)
    assert PROMOTION not in page
    assert (await browser.post(PROMOTION, {"form_token": token_of(page), "commit_sha": COMMIT})).status == 403
