"""The page of tests: search, rankings, and variants that are one test."""

import re
from datetime import UTC, datetime
from html import unescape
from typing import Any

import pytest

from service.cases import pages as cases_pages
from service.cases.model import CaseRow
from service.cases.operations import rank_cases
from service.cases.pages import fold_cases
from service.domain.ids import CaseKey
from tests.console.browsers import Browser
from tests.console.sections import main_text, section
from tests.run_events import result, run_event

TESTS = "/console/tests"
MONTH = f"{datetime.now(UTC):%Y-%m}-01"
CASE = CaseRow(
    CaseKey(1), "shop", None, {}, "auth", "pays", None, "passed", "run_1", 1_000, 10, 10, 1, 2, 0.1, 0.2, 30, 40
)


def flaky(name: str, **fields: Any) -> dict[str, Any]:
    return result(name, attempts=[{"status": "failed", "failure": {"message": "slow"}}, {"status": "passed"}], **fields)


async def store(browser: Browser, *results: Any, run_id: str = "run_1", **run: Any) -> None:
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    event = run_event(run_id, list(results), time=None, **{"completed_at": now, "project_id": "shop", **run})
    [outcome] = await browser.api.store.ingest(event)
    assert outcome.reason is None, outcome


def test_cases_that_differ_in_the_variant_are_one_test() -> None:
    other = CASE._replace(
        case_key=CaseKey(2), variant={"os": "mac"}, last_status="failed", failure_rate=0.5, failed=5, flaky_rate=None,
        mean_duration_ms=90, last_completed_ms=2_000,
    )  # fmt: skip
    third = CASE._replace(case_key=CaseKey(3), name="adds")
    [test, added] = fold_cases([CASE, third, other])
    assert (test.cases, added.cases) == ((CASE, other), (third,))
    assert (test.first, test.most_failing, test.flakiest) == (CASE, other, CASE)
    assert (test.last_status, test.slowest, test.last_completed_ms) == ("failed", other, 2_000)


def test_cases_with_the_same_id_of_the_producer_are_one_test() -> None:
    renamed = CASE._replace(case_id="C-1", name="pays twice")
    assert len(fold_cases([CASE._replace(case_id="C-1"), renamed, CASE])) == 2


def test_test_without_results_has_no_statistics() -> None:
    nothing = CASE._replace(last_status=None, last_completed_ms=None, failure_rate=None, mean_duration_ms=None)
    [test] = fold_cases([nothing])
    assert (test.last_status, test.slowest.mean_duration_ms, test.last_completed_ms) == (None, None, None)


async def test_page_lists_tests_with_their_variants(signed_in: Browser) -> None:
    await store(
        signed_in,
        result("pays", "failed", variant={"os": "mac"}),
        result("pays", variant={"os": "linux"}),
        result("adds", duration_ms=40),
    )
    page = await signed_in.open(TESTS)
    text = section(page, "tests")
    assert "pays auth.login Highest numbers of 2 variants" in text
    assert "os: mac Failed 1 failed, 0 flaky of 1" in text
    assert "Failed 1 of 1 0 of 1" in text
    assert "adds auth.login Passed 0 of 1 0 of 1 40ms" in text
    for case in (await signed_in.api.get("/v1/cases", {"project_id": "shop"}))["data"]:
        assert f'href="/console/cases/{case["id"]}"' in page


async def test_row_of_variants_states_that_its_numbers_are_the_highest_of_each_column(signed_in: Browser) -> None:
    for number, status in enumerate(("passed", "failed")):
        mac = result("pays", status, variant={"os": "mac"}, duration_ms=100)
        linux = result("pays", variant={"os": "linux"}, duration_ms=900)
        await store(signed_in, mac, linux, run_id=f"run_{number}", completed_at=f"2026-05-20T1{number}:00:00Z")
    text = section(await signed_in.open(TESTS), "tests")
    assert "Highest numbers of 2 variants" in text
    assert "Failed 50% 1 of 2 0% 0 of 2 900ms mean of 2" in text
    assert "os: mac Failed 1 failed, 0 flaky of 2 100ms mean of 2" in text
    assert "shows the worst state and last result and, in each column, the highest number of its variants." in text


async def test_rates_and_means_state_how_many_results_they_are_based_on(signed_in: Browser) -> None:
    for number, status in enumerate(("passed", "failed", "passed", "passed")):
        await store(
            signed_in, result("pays", status, duration_ms=100 * number), run_id=f"run_{number}",
            completed_at=f"2026-05-20T1{number}:00:00Z",
        )  # fmt: skip
    assert "pays auth.login Passed 25% 1 of 4 0% 0 of 4 150ms mean of 4" in section(
        await signed_in.open(TESTS), "tests"
    )
    slowest = section(await signed_in.open(f"{TESTS}?project_id=shop&sort=duration"), "tests")
    assert "pays auth.login Passed 0 of 1 0 of 1 300ms 2026" in slowest  # the ranking of one run
    assert "%" not in slowest


async def test_default_project_is_that_of_the_newest_run(signed_in: Browser) -> None:
    await store(signed_in, result("posts"), run_id="old", project_id="blog", completed_at="2026-05-20T10:00:00Z")
    await store(signed_in, result("pays"))
    assert "pays" in section(await signed_in.open(TESTS), "tests")
    assert "posts" in section(await signed_in.open(f"{TESTS}?project_id=blog"), "tests")


async def test_views_rank_the_tests_of_this_month(signed_in: Browser) -> None:
    await store(signed_in, result("adds", "failed"), flaky("clicks"), result("sleeps", duration_ms=9_000))
    page = unescape(await signed_in.open(TESTS))
    for sort, found, other in (("failures", "adds", "clicks"), ("flaky", "clicks", "adds")):
        url = f"{TESTS}?project_id=shop&from={MONTH}&sort={sort}"
        assert f'href="{url}"' in page
        text = section(await signed_in.open(url), "tests")
        assert found in text
        assert other not in text
        assert f"Newest 200 runs from {MONTH} (UTC)." in text
    all_time = await signed_in.open(f"{TESTS}?project_id=shop&sort=flaky")
    assert "Newest 200 runs." in section(all_time, "tests")
    assert all_time.count("this month") == 1  # of the other ranking
    slowest = section(await signed_in.open(f"{TESTS}?project_id=shop&sort=duration"), "tests")
    assert slowest.index("sleeps") < slowest.index("adds")


async def test_range_excludes_runs_of_other_days(signed_in: Browser) -> None:
    await store(signed_in, flaky("clicks"), completed_at="2026-05-20T10:00:00Z")
    url = f"{TESTS}?project_id=shop&sort=flaky"
    assert "clicks" in section(await signed_in.open(f"{url}&from=2026-05-20&to=2026-05-21"), "tests")
    text = main_text(await signed_in.open(f"{url}&from=2026-05-21"))
    assert "clicks" not in text
    assert "No test passed after a failed attempt" in text


async def test_search_finds_words_of_suite_and_name_in_every_view(signed_in: Browser) -> None:
    await store(signed_in, result("pays", "failed"), result("adds", "failed", suite="cart"))
    for query in ("q=AUTH", "q=auth+pays&sort=failures"):
        page = await signed_in.open(f"{TESTS}?project_id=shop&{query}")
        text = section(page, "tests")
        assert "pays" in text, query
        assert "adds" not in text, query
        assert 'name="q" type="search" value="' in page
    assert "No tests match" in main_text(await signed_in.open(f"{TESTS}?q=nothing"))


async def test_filters_of_a_ranking_can_be_removed(signed_in: Browser) -> None:
    await store(signed_in, result("pays", "failed", variant={"os": "mac"}), branch="topic")
    url = f"{TESTS}?sort=failures&branch=topic&variant=os:mac&suite=auth.login"
    page = await signed_in.open(url)
    assert "pays" in section(page, "tests")
    for label in ("Branch: topic", "Variant: os:mac", "Suite: auth.login"):
        assert f"Remove the filter {label}" in page
    assert "pays" not in section(await signed_in.open(url.replace("topic", "main")), "tests")


async def test_pages_contain_complete_suites_so_that_variants_are_together(signed_in: Browser) -> None:
    systems = ("linux", "mac", "windows")
    await store(
        signed_in,
        *(result(f"case{n}", suite=f"s{n // 3}", variant={"os": system}) for n in range(7) for system in systems),
    )
    url, seen, pages = f"{TESTS}?project_id=shop&limit=10", [], 0
    while url:
        page = unescape(await signed_in.open(url))
        seen += re.findall(r"(case\d) s\d Highest numbers of 3 variants", section(page, "tests"))
        url = next((part.partition('"')[0] for part in page.split('href="') if "starting_after" in part[:200]), "")
        pages += 1
    assert sorted(seen) == [f"case{n}" for n in range(7)]
    assert pages > 1


async def test_suite_larger_than_a_page_is_on_several_pages(signed_in: Browser) -> None:
    await store(signed_in, *(result(f"case{n}") for n in range(12)))
    page = unescape(await signed_in.open(f"{TESTS}?limit=2"))
    assert section(page, "tests").count("Passed") == 10
    url = next(part.partition('"')[0] for part in page.split('href="') if "starting_after" in part[:200])
    assert section(await signed_in.open(url), "tests").count("Passed") == 2


async def test_ranking_states_that_it_is_truncated(signed_in: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    await store(signed_in, result("pays", "failed"))

    async def truncated(*arguments: Any) -> Any:
        return (await rank_cases(*arguments))._replace(truncated=True)

    monkeypatch.setattr(cases_pages, "rank_cases", truncated)
    assert "than this ranking reads" in await signed_in.open(f"{TESTS}?sort=failures")
    text = main_text(await signed_in.open(f"{TESTS}?sort=flaky"))
    assert "No tests found before a limit was reached" in text


async def test_key_of_a_project_sees_only_that_project(browser: Browser) -> None:
    await store(browser, result("posts"), run_id="run_2", project_id="blog")
    await store(browser, result("pays"))
    await browser.sign_in((await browser.api.make_key(project_id="shop")).key)
    assert "pays" in main_text(await browser.open(TESTS))
    for query in ("project_id=blog", "project_id=blog&sort=duration"):
        other = main_text(await browser.open(f"{TESTS}?{query}"))
        assert "posts" not in other


async def test_page_without_runs_describes_the_next_step(signed_in: Browser) -> None:
    assert "client.pyz report" in await signed_in.open(TESTS)
