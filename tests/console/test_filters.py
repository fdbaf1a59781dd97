"""Filters of the lists: errors name the labels of the form, and a field for a project suggests the known ones."""

import re
from html import unescape

import pytest
import pytest_asyncio

from service.stats import pages as stats_pages
from tests.console.browsers import RUNS, Browser
from tests.console.sections import main_text
from tests.run_events import run_event

TESTS, HEALTH, QUARANTINES = "/console/tests", "/console/health", "/console/quarantines"
LONG = "x" * 500
SUGGESTED = re.compile(r'<datalist id="f-project_id-list">(.*?)</datalist>.*?list="f-project_id-list"', re.DOTALL)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lists(shared_browser: Browser) -> Browser:
    """A browser of a console with three projects."""
    for number, project in enumerate(("web", "api", "<i>")):
        await shared_browser.api.store.ingest(run_event(f"run_{number}", project_id=project))
    return shared_browser


def at_field(page: str, name: str) -> tuple[str, str]:
    """Return the label and the message of a field."""
    [label] = re.findall(rf'<label for="f-{name}">([^<]*)</label>', page)
    [problem] = re.findall(rf'<p class="problem" id="f-{name}-hint">([^<]*)</p>', page)
    return unescape(label), unescape(problem)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        (RUNS, "from", "yesterday"),
        (RUNS, "commit_sha", "c0ffee"),
        (RUNS, "label", "team"),
        (RUNS, "pull_request", LONG),
        (RUNS, "project_id", LONG),
        (TESTS, "q", "one two three four five six"),
        (TESTS, "to", "tomorrow"),
        (TESTS, "variant", "linux"),
        (HEALTH, "branch", LONG),
        (HEALTH, "project_id", LONG),
        (QUARANTINES, "project_id", LONG),
        (QUARANTINES, "case", "case_1"),
        (QUARANTINES, "active", "maybe"),
        (f"{RUNS}/run_1/results", "q", "one two three four five six"),
    ],
)
async def test_error_of_a_filter_names_the_label_of_the_form(lists: Browser, path: str, name: str, value: str) -> None:
    page = await lists.open(f"{path}?{name}={value}", 400)
    label, problem = at_field(page, name)
    assert problem.startswith("Must ")
    assert f"Invalid filter {label}: must " in main_text(page)
    assert f"{name}:" not in main_text(page)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", [RUNS, TESTS])
async def test_error_about_two_filters_names_both_labels(lists: Browser, path: str) -> None:
    page = await lists.open(f"{path}?from=2026-05-02&to=2026-05-01", 400)
    assert at_field(page, "to") == ("Before (UTC)", "Must not be before From (UTC)")
    assert "Before (UTC): must not be before From (UTC)" in main_text(page)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", [RUNS, TESTS, HEALTH, QUARANTINES])
@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("color=1", "query parameter 'color' is not supported"),
        ("project_id=a&project_id=b", "Project: must occur once, not 2 times"),
        ("project_id=%00", "Project: must not contain NUL characters"),
    ],
)
async def test_error_without_a_value_to_correct_is_shown(lists: Browser, path: str, query: str, message: str) -> None:
    assert message in main_text(await lists.open(f"{path}?{query}", 400))


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("path", "message"),
    [
        (f"{RUNS}?status=good", "Status: must be one of passed, failed, error, canceled"),
        (f"{TESTS}?sort=best", "Order: must be"),
        (f"{TESTS}?state=sick", "State: must be one of healthy, flaky, broken"),
        (f"{RUNS}?limit=0", "limit: must be at least 1"),
        (f"{QUARANTINES}?starting_after=x", "starting_after: "),
    ],
)
async def test_error_of_a_parameter_without_a_text_field_is_shown(lists: Browser, path: str, message: str) -> None:
    assert message in main_text(await lists.open(path, 400))


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", [RUNS, QUARANTINES, f"{QUARANTINES}/new", "/console/exports"])
async def test_field_for_a_project_suggests_the_projects(lists: Browser, path: str) -> None:
    [options] = SUGGESTED.findall(await lists.open(path))
    assert re.findall(r'<option value="([^"]*)">', options) == ["&lt;i&gt;", "api", "web"]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", [TESTS, HEALTH])
async def test_project_is_selected_from_a_list_or_suggested_from_a_long_one(
    lists: Browser, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert '<select id="f-project_id"' in await lists.open(path)
    monkeypatch.setattr(stats_pages, "_PROJECTS", 2)
    page = await lists.open(path)
    assert '<select id="f-project_id"' not in page
    [options] = SUGGESTED.findall(page)
    assert re.findall(r'<option value="([^"]*)">', options) == ["&lt;i&gt;", "api"]
