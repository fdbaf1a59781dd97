"""The pages of the console. A new page needs a row here, and is then tested in every setting."""

from collections.abc import Callable
from typing import Final, NamedTuple
from urllib.parse import quote, urlencode

from tests.console.browser.demo_site import OWNER, DemoSite


class PageCase(NamedTuple):
    """A page, and the path of an example with data. Most pages show texts of producers, such as the name of a run."""

    name: str
    path: Callable[[DemoSite], str]
    shows_producer_texts: bool = True

    def __str__(self) -> str:
        return self.name


def run_path(run_id: str, page: str = "") -> str:
    """Return the path of a page of a run."""
    return f"/console/runs/{quote(run_id, safe='')}{page}"


PAGES: Final = (
    PageCase("runs", lambda site: "/console/runs"),
    PageCase(
        "runs-filtered",
        lambda site: f"/console/runs?{urlencode({'project_id': site.project_id, 'branch': site.failing['branch']})}",
    ),
    PageCase("run", lambda site: run_path(site.run_id)),
    PageCase("run-incomplete", lambda site: run_path(site.incomplete_run_id)),
    PageCase("run-missing", lambda site: run_path(site.missing_run_id), shows_producer_texts=False),
    PageCase("run-changes", lambda site: run_path(site.pull_request_run_id, "/changes")),
    PageCase("run-results", lambda site: run_path(site.run_id, "/results")),
    PageCase("result", lambda site: f"/console/results/{site.failing['id']}"),
    PageCase("result-flaky", lambda site: f"/console/results/{site.flaky['id']}"),
    PageCase("result-rerun", lambda site: f"/console/results/{site.rerun['id']}", shows_producer_texts=False),
    PageCase("case", lambda site: f"/console/cases/{site.failing['case']}"),
    PageCase("case-flaky", lambda site: f"/console/cases/{site.flaky['case']}"),
    PageCase("case-broken", lambda site: f"/console/cases/{site.broken_case}"),
    PageCase("quarantines", lambda site: "/console/quarantines"),
    PageCase("quarantine", lambda site: f"/console/quarantines/{site.quarantine_id}"),
    PageCase(
        "quarantine-new",
        lambda site: f"/console/quarantines/new?{urlencode({'project_id': site.project_id, 'suite': site.project_id})}",
        shows_producer_texts=False,
    ),
    PageCase("exports", lambda site: "/console/exports"),
    PageCase(
        "exports-filled-in",
        lambda site: f"/console/exports?{urlencode({'run_id': site.run_id, 'branch': site.project_id})}#new",
    ),
    PageCase("tests", lambda site: f"/console/tests?{urlencode({'project_id': site.project_id})}"),
    PageCase(
        "tests-broken", lambda site: f"/console/tests?{urlencode({'project_id': site.project_id, 'state': 'broken'})}"
    ),
    PageCase(
        "tests-flaky", lambda site: f"/console/tests?{urlencode({'project_id': site.project_id, 'sort': 'flaky'})}"
    ),
    PageCase("owners", lambda site: f"/console/owners?{urlencode({'project_id': site.project_id})}"),
    PageCase("owner", lambda site: f"/console/owners?{urlencode({'project_id': site.project_id, 'owner': OWNER})}"),
    PageCase(
        "tests-longest",
        lambda site: f"/console/tests?{urlencode({'project_id': site.project_id, 'sort': 'total_duration'})}",
    ),
    PageCase("costs", lambda site: f"/console/costs?{urlencode({'project_id': site.project_id})}"),
    PageCase(
        "costs-owners",
        lambda site: f"/console/costs?{urlencode({'project_id': site.project_id, 'group_by': 'owner'})}",
    ),
    PageCase("health", lambda site: f"/console/health?{urlencode({'project_id': site.project_id})}"),
    PageCase(
        "health-branch",
        lambda site: f"/console/health?{urlencode({'project_id': site.project_id, 'branch': site.failing['branch']})}",
    ),
    PageCase("members", lambda site: "/console/members"),
    PageCase("publishers", lambda site: "/console/publishers", shows_producer_texts=False),
    PageCase("publisher-new", lambda site: "/console/publishers/new?provider=gitlab", shows_producer_texts=False),
    PageCase("member", lambda site: f"/console/members/{site.member_id}"),
    PageCase("failure", lambda site: f"/console/failures/{site.group_id}"),
)
