"""The states of cases on the pages of the console: of runs, results, tests, cases, and the health of a project."""

from typing import Any, Final

import pytest
import pytest_asyncio

from service.domain.statuses import STATE_VALUES
from service.events.operations import number_events
from service.identity.keys.model import Caller
from service.states.read_states import count_states
from service.states.update_states import StateUpdater
from tests.console.browsers import Browser
from tests.console.sections import main_text, section, section_html
from tests.run_events import result, run_event

RERUN: Final = [{"status": "failed"}, {"status": "passed"}]
LETTERS: Final[dict[str, dict[str, Any]]] = {
    "p": {"status": "passed"},
    "f": {"status": "failed"},
    "F": {"attempts": RERUN},
}
RUNS: Final = ["ppp"] * 22 + ["pFp", "ppp", "pFp", "fpp", "fpp", "fpp"]  # of the cases breaks, flakes, and works
LAST: Final = len(RUNS) - 1
FIRST_FAILURE: Final = RUNS.index("fpp")


def commit(number: int) -> str:
    return f"{number:08}c0ffee".ljust(40, "0")


def event(number: int, letters: str, **fields: Any) -> Any:
    names = ("breaks", "flakes", "works")
    defaults = {
        "results": [result(name, **LETTERS[letter]) for name, letter in zip(names, letters, strict=False)],
        "run_id": f"run_{number}", "branch": "main", "commit_sha": commit(number), "project_id": "shop",
        "repository_url": "https://github.com/acme/shop", "completed_at": f"2026-05-{number + 1:02}T10:00:00Z",
    }  # fmt: skip
    return run_event(time=None, **{**defaults, **fields})


async def store(browser: Browser, *events: Any) -> None:
    """Store runs, and update the states that follow from them."""
    for outcome in await browser.api.store.ingest(*events):
        assert outcome.reason is None, outcome
    await number_events(browser.api.store.pool)
    await StateUpdater(browser.api.store.pool).update()


@pytest_asyncio.fixture
async def site(signed_in: Browser) -> Browser:
    """A console with a broken, a flaky, and a healthy case, and a pull request in which all three fail."""
    await store(signed_in, *[event(number, letters) for number, letters in enumerate(RUNS)])
    await store(signed_in, event(LAST + 1, "fff", run_id="pull", branch="topic", base_branch="main"))
    return signed_in


async def path_of(browser: Browser, name: str, page: str = "cases") -> str:
    """Return the path of the page of a case, or of its result in the pull request."""
    [found] = (await browser.api.get("/v1/results", {"run_id": "pull", "q": name}))["data"]
    return f"/console/{page}/{found['case' if page == 'cases' else 'id']}"


async def test_failures_of_a_run_state_that_the_case_is_unhealthy(site: Browser) -> None:
    for page in ("", "/changes", "/results"):
        text = main_text(await site.open(f"/console/runs/pull{page}"))
        assert "breaks Broken case" in text, page
        assert "flakes Flaky case" in text, page
        assert (text.count("Broken case"), text.count("Flaky case")) == (1, 1), page


async def test_results_that_passed_state_no_state_in_the_list_of_results(site: Browser) -> None:
    text = main_text(await site.open(f"/console/runs/run_{LAST}/results"))
    assert ("Broken case" in text, "Flaky case" in text) == (True, False)


async def store_variants(browser: Browser) -> None:
    """Store a test that is flaky on Linux and broken on a Mac, and a run without a baseline in which both fail."""
    runs = ["pp"] * 22 + ["Fp", "pp", "Fp", "pf", "pf", "ff"]
    variants = [
        [
            result("pays", variant={"os": "linux"}, **LETTERS[linux]),
            result("pays", variant={"os": "mac"}, **LETTERS[mac]),
        ]
        for linux, mac in map(tuple, (*runs, "ff"))
    ]
    events = [event(number, "", results=results) for number, results in enumerate(variants[:-1])]
    await store(
        browser, *events, event(len(runs), "", results=variants[-1], run_id="pull", branch="topic", base_branch="new")
    )


async def test_variants_of_a_failure_share_the_worst_state(signed_in: Browser) -> None:
    await store_variants(signed_in)
    text = main_text(await signed_in.open("/console/runs/pull"))
    assert text.count("Broken case") == 1
    assert "Flaky case" not in text


async def test_page_of_a_result_states_the_state_of_its_case(site: Browser) -> None:
    for name, state in (("breaks", "Failed Broken case"), ("flakes", "Failed Flaky case")):
        assert f"{name} {state} auth.login" in main_text(await site.open(await path_of(site, name, "results")))
    assert " case auth.login" not in main_text(await site.open(await path_of(site, "works", "results")))


async def test_health_counts_unhealthy_cases_and_links_them(site: Browser) -> None:
    page = await site.open("/console/health?project_id=shop")
    assert section(page, "states") == "Unhealthy cases On the default branch By owner 1 broken 1 flaky"
    for state in ("broken", "flaky"):
        assert f'href="/console/tests?project_id=shop&amp;state={state}"' in section_html(page, "states")
    await site.api.store.ingest(run_event("other", project_id="blog"))
    other = await site.open("/console/health?project_id=blog")
    assert section(other, "states") == "Unhealthy cases On the default branch By owner No broken case No flaky case"
    assert "/console/tests" not in section_html(other, "states")


async def test_cases_of_another_project_or_organization_are_not_counted(site: Browser) -> None:
    org_id, pool = site.api.org_id, site.api.resources.pool
    other_org, _ = await site.api.make_organization("other")
    for caller in (Caller(org_id, "key_1", "viewer", "blog"), Caller(other_org, "key_1", "viewer", None)):
        assert await count_states(pool, caller, "shop") == {}
    assert await count_states(pool, Caller(org_id, "key_1", "viewer", "shop"), "shop") == {"broken": 1, "flaky": 1}


async def test_tests_show_their_state_and_are_filtered_by_it(site: Browser) -> None:
    shown = section(await site.open("/console/tests?project_id=shop"), "tests")
    assert "breaks auth.login Broken Failed" in shown
    assert "flakes auth.login Flaky Failed" in shown
    assert "works auth.login Failed" in shown
    for query, names in (
        ("state=broken", ["breaks"]),
        ("state=broken&state=flaky", ["breaks", "flakes"]),
        ("state=healthy", ["works"]),
        ("state=flaky&sort=failures", ["flakes"]),
    ):
        page = await site.open(f"/console/tests?project_id=shop&{query}")
        listed = section(page, "tests")
        assert [name for name in ("breaks", "flakes", "works") if f"{name} auth.login" in listed] == names, query
        for state in STATE_VALUES:
            is_selected = f"state={state}" in query
            assert (f'name="state" value="{state}" checked' in page) == is_selected, query
            assert (f'title="Remove the filter State: {state}"' in page) == is_selected, query
    other = main_text(await site.open("/console/tests?project_id=shop&state=flaky&q=breaks"))
    assert "No test that matches has this state on the default branch." in other


async def test_row_of_variants_has_their_worst_state(signed_in: Browser) -> None:
    await store_variants(signed_in)
    shown = section(await signed_in.open("/console/tests?project_id=shop"), "tests")
    assert "os: linux Flaky Failed" in shown
    assert "os: mac Broken Failed" in shown
    assert "Broken Failed" in shown.partition("os: mac Broken Failed")[2]


async def test_page_of_a_broken_case_names_its_runs_and_compares_the_commits(site: Browser) -> None:
    page = await site.open(await path_of(site, "breaks"))
    first, last_passed = FIRST_FAILURE, FIRST_FAILURE - 1
    assert (
        f"Broken on main since run_{first} (commit {commit(first)[:8]}). It last passed in run_{last_passed}"
        f" (commit {commit(last_passed)[:8]}). Compare the commits"
    ) in main_text(page).replace(" )", ")")
    compared = f"https://github.com/acme/shop/compare/{commit(last_passed)}...{commit(first)}"
    assert f'href="{compared}"' in page
    for number in (first, last_passed):
        assert f'<a href="/console/runs/run_{number}">run_{number}</a>' in page


async def test_page_of_a_flaky_case_has_no_comparison(site: Browser) -> None:
    page = await site.open(await path_of(site, "flakes"))
    assert "Flaky on the default branch since the oldest run of its history." in main_text(page)
    assert "/compare/" not in page


async def test_page_of_a_healthy_case_has_no_state(site: Browser) -> None:
    text = main_text(await site.open(await path_of(site, "works")))
    assert "on the default branch" not in text
    assert "on main since" not in text


@pytest.mark.parametrize("fields", [{"commit_sha": commit(0)}, {"commit_sha": None}, {"repository_url": None}])
async def test_commits_without_a_comparison_have_no_link(signed_in: Browser, fields: dict[str, Any]) -> None:
    events = [event(number, letters, environment="linux", **fields) for number, letters in enumerate(RUNS)]
    await store(signed_in, *events, event(LAST + 1, "fff", run_id="pull", branch="topic"))
    page = await signed_in.open(await path_of(signed_in, "breaks"))
    assert f"Broken on main in the environment linux since run_{FIRST_FAILURE}" in main_text(page)
    assert "Compare the commits" not in page


async def test_state_that_began_in_a_deleted_run_is_shown(site: Browser) -> None:
    path = await path_of(site, "breaks")
    assert (await site.api.send("DELETE", f"/v1/runs/run_{FIRST_FAILURE}")).status == 204
    assert "Broken on the default branch. It last passed" in main_text(await site.open(path))


async def test_case_that_is_broken_in_one_environment_is_not_counted_as_flaky(site: Browser) -> None:
    flaky = ["ppp"] * 22 + ["Fpp", "ppp", "Fpp"]
    await store(
        site,
        *[event(number, letters, run_id=f"mac_{number}", environment="mac") for number, letters in enumerate(flaky)],
    )
    assert " 1 broken 1 flaky" in section(await site.open("/console/health?project_id=shop"), "states")
    assert "Broken on main since" in main_text(await site.open(await path_of(site, "breaks")))
