"""The splits on the page of a run: its parts, and the items that no job executed."""

import re
from html import escape

from tests.console.browsers import Browser
from tests.console.sections import section, section_html
from tests.runs.run_history import RUN, event
from tests.splits.stored_splits import store_split

LOST = [f"tests/<b>{number:02}.py" for number in range(55)]


async def test_page_shows_the_parts_and_names_the_missing_items(signed_in: Browser) -> None:
    await store_split(signed_in.api, LOST)
    page = await signed_in.open(RUN)
    text = section(page, "splits")
    assert "unit <i>" in text
    assert "55 items not executed" in text
    assert "tests/<b>00.py · part 2, no upload" in text
    assert ("tests/<b>49.py" in text, "tests/<b>50.py" in text) == (True, False)
    assert "5 more items aren't listed." in text
    assert escape(LOST[0]) in section_html(page, "splits")
    assert re.search(r"Part 1 1 1m 1m 1s rcp_[0-9a-f]{32} Part 2 55 Unknown Unknown No upload$", text), text
    assert "Split by name" not in text
    head = page.partition('<div class="row title">')[2].partition("</div>")[0]
    assert "Results missing" in head
    assert "Results missing" in await signed_in.open(f"{RUN}/changes")


async def test_page_shows_that_jobs_split_by_name(signed_in: Browser) -> None:
    await store_split(signed_in.api, ["tests/a.py"], by_name=True)
    text = section(await signed_in.open(RUN), "splits")
    assert "Split by name without the server" in text
    assert "tests/a.py · no upload" in text


async def test_page_of_a_run_without_a_split_has_no_section(signed_in: Browser) -> None:
    await signed_in.api.store.ingest(event(4, "", "pays"))
    assert section(await signed_in.open(RUN), "splits") == ""
