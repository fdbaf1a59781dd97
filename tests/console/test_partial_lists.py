"""Statements about data that a page reads only partly: no count is shown as the total, and nothing unknown as none."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from service.cases import pages as cases_pages
from service.comparison import compare_runs
from service.database.pages import ListPage
from service.failures import store as failures_store
from service.results.queries import Budgets
from service.results.rows import ResultRow
from service.runs import overview, run_pages
from service.runs import pages as runs_pages
from service.stats.operations import find_stats
from tests.cases.test_pages import store_history
from tests.console.browsers import RUNS, Browser
from tests.console.sections import main_text, section
from tests.run_events import result, run_event

RUN = f"{RUNS}/run_1"
LATER_PART = "2026-05-20T13:45:00Z"


def failing(name: str, message: str) -> dict[str, Any]:
    return result(name, "failed", failure={"type": "E", "message": message})


async def ingest_failures(browser: Browser) -> None:
    results = [failing("a", "cat is missing"), failing("b", "dog has escaped"), failing("c", "dog has escaped")]
    await browser.api.store.ingest(run_event("run_1", results))


async def test_statistics_of_too_many_runs_state_the_range(signed_in: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    await signed_in.api.store.ingest(run_event("run_1", completed_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"))
    assert "are counted" not in await signed_in.open(RUNS)

    async def find_some(*given: Any) -> Any:
        return (await find_stats(*given))._replace(truncated=True)

    monkeypatch.setattr(runs_pages, "find_stats", find_some)
    assert "Only the newest 1 runs are counted, from 20" in main_text(await signed_in.open(RUNS))


async def test_other_failure_groups_are_mentioned(signed_in: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    await ingest_failures(signed_in)
    assert "largest groups" not in await signed_in.open(RUN)
    monkeypatch.setattr(overview, "_GROUPS", 1)
    page = await signed_in.open(RUN)
    assert "Only the 1 largest groups are listed." in page
    assert page.count("results?fingerprint=") == 1


async def test_groups_of_some_failures_are_minimums(signed_in: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    await ingest_failures(signed_in)
    assert "can be larger" not in await signed_in.open(RUN)
    monkeypatch.setattr(failures_store, "_OF_RUN", Budgets(100, 1))
    assert "The groups can be larger." in await signed_in.open(RUN)


async def test_artifacts_of_a_run_continue_on_the_next_page(
    signed_in: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = """
        INSERT INTO artifacts (org_id, run_key, case_key, artifact_key, kind, name, path)
        SELECT org_id, run_key, 0, n, 'log', 'log ' || n, 'path' FROM runs, generate_series(1, 3) n
        """
    await signed_in.api.store.ingest(run_event("run_1"))
    await signed_in.api.store.pool.execute(insert)
    assert "More artifacts" not in await signed_in.open(RUN)
    monkeypatch.setattr(run_pages, "_ARTIFACTS", 2)
    first = await signed_in.open(RUN)
    assert "log 1 Log log 2 Log" in section(first, "artifacts")
    (following,) = re.findall(r'href="([^"#]+starting_after=[^"#]+)#artifacts"', first)
    assert "log 3 Log" in section(await signed_in.open(following), "artifacts")


async def test_page_without_results_can_have_a_next_page(signed_in: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    async def find_none(*_: Any) -> ListPage[ResultRow]:
        return ListPage((), "position")

    await signed_in.api.store.ingest(run_event("run_1"))
    monkeypatch.setattr(run_pages, "list_results", find_none)
    page = await signed_in.open(f"{RUN}/results?q=words")
    assert "Later results can match." in page
    assert "No results match" not in page
    assert "starting_after=position" in page


async def test_results_that_are_not_compared_are_not_called_unchanged(
    signed_in: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [run_event(f"run_{n}", time=f"2026-05-20T1{n}:00:00Z", branch="main") for n in range(2)]
    await signed_in.api.store.ingest_each(*events)
    path = f"{RUN}/changes"
    assert "No result failed, or was fixed, added, or removed." in await signed_in.open(path)
    assert "No result has the selected changes." in await signed_in.open(f"{path}?change=fixed")
    monkeypatch.setattr(compare_runs, "MAX_COMPARED_RESULTS", 0)
    for query, expected in (("", "No result failed."), ("?change=fixed", "No failing result has the selected")):
        page = await signed_in.open(path + query)
        assert "Only failures are listed" in page
        assert expected in page
        assert "No changes" not in page or query


async def test_run_without_results_has_no_unchanged_results(signed_in: Browser) -> None:
    await signed_in.api.store.ingest(run_event("run_1", [], status="passed"))
    assert "The run has no results." in await signed_in.open(f"{RUN}/changes")


async def test_canceled_results_of_a_case_are_not_called_passed(signed_in: Browser) -> None:
    results = [result("pays", "canceled"), result("pays", "canceled")]
    page = await signed_in.open(await store_history(signed_in, *results))
    assert "None of the last 2 results of this case failed or was flaky." in main_text(page)


async def test_listed_variants_are_not_the_total(signed_in: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    path = await store_history(signed_in, result("pays"))
    await signed_in.api.store.ingest(run_event("run_9", [result("pays", variant={"os": os}) for os in ("a", "b")]))
    assert "Other variants 2" in section(await signed_in.open(path), "variants")
    monkeypatch.setattr(cases_pages, "MAX_VARIANTS", 2)
    text = section(await signed_in.open(path), "variants")
    assert "Other variants 2" not in text
    assert "At most 2 variants are listed." in text


async def test_time_of_an_incomplete_run_is_not_called_its_completion(signed_in: Browser) -> None:
    for shard, time in ((1, "2026-05-20T12:00:00Z"), (2, LATER_PART)):
        event = run_event("run_1", [result(str(shard))], expected_shards=2, shard=shard, completed_at=time)
        await signed_in.api.store.ingest(event)
        is_complete = shard == 2
        text = section(await signed_in.open(RUN), "details")
        assert ("Newest part completed" in text) != is_complete
        assert ("Completed" in text) == is_complete
    assert LATER_PART[:16] in await signed_in.open(RUNS)
