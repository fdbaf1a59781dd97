"""Untrusted runs in the console: a mark on each of their pages, no place in other lists, and their promotion."""

import re

from tests.console.browsers import RUNS, Browser, token_of
from tests.console.run_history import RUN, event, ingest_history, put_gate
from tests.console.sections import main_text

COMMIT = "c" * 40
PROMOTION = f"{RUN}/promotion"


async def test_untrusted_run_is_marked_and_promoted(signed_in: Browser) -> None:
    await ingest_history(signed_in)
    await put_gate(signed_in)
    await signed_in.api.store.pool.execute(
        "UPDATE runs SET trusted = false, commit_sha = $1 WHERE run_id = 'run_4'", COMMIT
    )
    await signed_in.api.store.pool.execute(
        "UPDATE runs SET field_versions = field_versions || '{\"commit_sha\": 1}' WHERE run_id = 'run_4'"
    )
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

    [revision] = re.findall(r'name="revision" value="(\d+)"', page)
    fields = {"form_token": token_of(page), "commit_sha": COMMIT, "revision": revision}
    assert (await signed_in.post(PROMOTION, fields | {"revision": str(int(revision) + 1)})).status == 409
    assert (await signed_in.post(PROMOTION, fields | {"commit_sha": "d" * 40})).status == 409
    assert (await signed_in.post(PROMOTION, {"form_token": fields["form_token"]})).status == 400
    response = await signed_in.post(PROMOTION, fields)
    assert (response.status, response.headers["Location"]) == (303, RUN)
    page = await signed_in.open(RUN)
    assert "ntrusted" not in main_text(page)
    assert "Apply gate" in main_text(page)
    assert RUN in await signed_in.open(RUNS)


async def test_roles_without_the_permission_can_not_promote(browser: Browser) -> None:
    await browser.api.store.ingest(event(4, "fails", "passes", commit_sha=COMMIT))
    await browser.api.store.pool.execute("UPDATE runs SET trusted = false")
    await browser.sign_in((await browser.api.make_key("uploader")).key)
    page = await browser.open(RUN)
    assert "This run is untrusted." in main_text(page)
    assert PROMOTION not in page
    assert (await browser.post(PROMOTION, {"form_token": token_of(page), "commit_sha": COMMIT})).status == 403
