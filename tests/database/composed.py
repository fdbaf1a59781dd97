"""Every composed statement."""

import itertools
from collections.abc import Iterator
from typing import Any, get_args

from service.artifacts import store as artifacts_store
from service.cases import store as cases_store
from service.cases.model import RunRanking
from service.comparison import store as comparison_store
from service.database.engines import CITUS
from service.database.pages import page_by_id_statement
from service.database.statements import Statement, compose
from service.domain.filters import ResultFilter, RunFilter
from service.domain.ids import CaseKey, Fingerprint
from service.exports.columns import EXPORT_CONTENTS
from service.exports.model import EXPORT_FORMATS
from service.exports.readers import export_statement
from service.gates import store as gates_store
from service.gates.store import DecisionFilter
from service.receipts import store as receipts_store
from service.receipts.store import ReceiptFilter
from service.results import queries as results_queries
from service.runs.candidates import runs_statement
from service.states import store as states_store
from tests.exporting import export_spec

VALUES: dict[str, list[Any]] = {
    "statuses": [(), ("f",), ("e",), ("s",), ("c",), ("e", "f"), ("f", "p")],
    "project_id": [None, "shop"],
    "environment": [None, "staging"],
    "branch": [None, "main"],
    "flaky": [None, True, False],
    "run_id": [None, "run_1"],
    "case_key": [None, CaseKey(7)],
    "case_id": [None, "tc_1"],
    "suite": [None, "auth"],
    "words": [(), ("a",)],
    "sort": [None, "-duration_ms", "suite"],
    "commit_sha": [None, "c0ffee1"],
    "min_duration_ms": [None, 5],
    "fingerprint": [None, Fingerprint(7)],
}


OF_OWNER = ResultFilter(owner="web")
OF_RUNS: dict[str, list[Any]] = {
    "pipeline": [None, "github-1"],
    "pull_request": [None, "7"],
    "author": [None, "ada"],
}
SINGLE_ROWS = (
    "one_result",
    "results_of_keys",
    "sorted_by_duration",
    "sorted_by_suite",
    "commits",
    "server_state",
    "one_run",
    "one_artifact",
    "has_result",
    "key_of_run_of_artifacts",
    "page_of_report_files",
    "owner_run",
    "cases_by_name",
    "complete_runs",
    "shards_of_run",
    "case_project",
    "failure_group_range",
    "cases_of_key",
    "sortable_run",
    "key_of_run",
    "cases_of_id",
    "one_project",
)
# Statements about rows of several organizations, and the choice with which all of the rows are of one
REQUESTED = (
    "complete_runs", "locked_runs", "assigned_parts", "stored_cases", "committed_cases", "failing_cases_of_runs",
    "locked_projects",
)  # fmt: skip
ONE_ORGANIZATION = {"requested_organization": "one_organization"}
LISTED_BY_ID = (
    "listed_exports", "listed_webhooks", "listed_deliveries", "listed_quarantines", "listed_members",
    "listed_publishers",
)  # fmt: skip
SINGLE_OBJECTS = (
    "one_export", "one_webhook", "one_delivery", "one_quarantine", "mark_expired", "one_gate",
    "page_of_gates", "one_decision", "dry_decision", "one_excuse", "newest_excuses",
    "one_member", "one_publisher", "newest_audit_entries",
)  # fmt: skip


def result_filters() -> Iterator[ResultFilter]:
    """Every combination of the filters of results, and an owner, which only needs a statement of its own."""
    for values in itertools.product(*VALUES.values()):
        combination = dict(zip(VALUES, values, strict=True))
        selects_two_cases = combination["case_key"] is not None and combination["case_id"] is not None
        requires_run = combination["suite"] is not None or combination["words"] or combination["sort"]
        if not selects_two_cases and (combination["run_id"] is not None or not requires_run):
            yield ResultFilter(**combination)
    yield OF_OWNER


def run_filters() -> Iterator[RunFilter]:
    """Every combination of the filters of runs that can change the statement."""
    names = ("project_id", "environment", "branch", "flaky", "commit_sha", "pipeline", "pull_request", "author")
    for values in itertools.product(*((VALUES | OF_RUNS)[name] for name in names)):
        yield RunFilter(**dict(zip(names, values, strict=True)))


def composed_lists() -> set[Statement]:
    """The statements of comparisons and of the lists of results, runs, cases, projects, decisions, and statistics."""
    of_owner = (
        ResultFilter(owner="web"),
        ResultFilter(owner="web", statuses=("f",)),
        ResultFilter(owner="web", flaky=True),
    )
    results = {compose(name) for filter_ in (*result_filters(), *of_owner) for name in names_of_list(filter_)}
    runs = {
        runs_statement(filter_, by_commit=by_commit)
        for filter_ in (*run_filters(), *result_filters(), RunFilter(trusted="false"))
        for by_commit in (True, False)
        if filter_.commit_sha or not by_commit
    }
    cases = {compose(name) for name in ("one_case", "other_variants")} | {cases_store.page_statement("found_cases")}
    choices = [*state_choices("cases"), *owner_choices()]
    cases |= {compose("search_of_cases", **choice) for choice in choices}
    cases |= {cases_store.page_statement("next_cases", **choice) for choice in choices} | {compose("page_of_owners")}
    suggestions = {compose(f"filter_suggestions_of_{owner}") for owner in ("organization", "project")}
    return (
        results
        | runs
        | cases
        | suggestions
        | comparisons()
        | decision_pages()
        | failure_groups()
        | stats()
        | rankings()
        | costs()
        | {compose("page_of_projects"), compose("creation_of_runs"), gates_store.statement()}
    )


def names_of_list(filter_: ResultFilter) -> Iterator[str]:
    """The statements that can find the results of a list, except the runs."""
    direct = results_queries.direct_search(filter_)
    yield results_queries.search_in_runs(filter_).name if direct is None else direct.name


def comparisons() -> set[Statement]:
    """The statements of comparisons."""
    limited = {
        comparison_store.window_statement(),
        comparison_store.failing_statement(),
        states_store.window_statement("linux"),
        states_store.window_statement(""),
        comparison_store.history_statement(),
    }
    names = (
        "compared_run", "has_branch", "texts_of_cases", "retried_results", "merged_results", "next_candidate",
        "replayed_runs",
    )  # fmt: skip
    return limited | {compose(name) for name in names}


def failure_groups() -> set[Statement]:
    """The statements of failure groups."""
    lists = {compose(f"failure_groups_of_{selected}") for selected in ("run", "branch", "project")}
    return lists | {compose("one_failure_group")}


def rankings() -> set[Statement]:
    """The statements of ranked lists of cases."""
    owners: tuple[dict[str, str], ...] = (
        {},
        {"ranks_of_any_owner": "ranks_of_owner"},
        {"ranks_of_any_owner": "ranks_of_large_owner"},
    )
    choices = [choice | owner for choice in state_choices("ranks") for owner in owners]
    return {compose(f"ranked_by_{ranking}", **choice) for ranking in get_args(RunRanking) for choice in choices}


def state_choices(filtered: str) -> list[dict[str, str]]:
    """The choices of a statement without and with a filter of states."""
    return [{}, *({f"{filtered}_in_any_state": f"{filtered}_{chosen}"} for chosen in ("in_states", "not_in_states"))]


def owner_choices() -> list[dict[str, str]]:
    """The choices of a statement with a filter by an owner that has few cases."""
    of_owner = {"cases_of_any_owner": "cases_of_owner"}
    return [of_owner, {"cases_in_any_state": "cases_not_in_states"} | of_owner]


def costs() -> set[Statement]:
    """The sums of costs of a range."""
    names = ("range_of_costs", "costs_of_days", "costs_of_owners")
    groups = {
        "suite_of_case": "costs_of_cases", "owner_of_case": "costs_of_cases", "project_of_row": "costs_of_projects",
        "job_of_row": "costs_of_jobs",
    }  # fmt: skip
    return (
        {compose(name) for name in names}
        | {compose("costs_of_groups", costs_of_range=rows, group_name=group) for group, rows in groups.items()}
        | {compose("p95_of_groups", group_name=group) for group in groups}
        | {compose("cases_by_duration", **choice) for choice in state_choices("ranks")}
    )


def stats() -> set[Statement]:
    """The statements of statistics about runs."""
    names = ("stats_of_organization", "stats_of_project")
    return {compose(name) for name in (*names, *(f"grouped_{name}" for name in names))}


def decision_pages() -> set[Statement]:
    """The statements of the list of decisions."""
    filters = (DecisionFilter(), DecisionFilter(run_id="r"), DecisionFilter(gate="g"), DecisionFilter(project_id="p"))
    return {gates_store.page_statement(filter_) for filter_ in filters}


def receipt_pages(**choice: str) -> set[Statement]:
    """The statements of the list of receipts."""
    filters = (ReceiptFilter(), ReceiptFilter(run_id="r"), ReceiptFilter(pipeline="p"), ReceiptFilter(event_id="e"))
    return {receipts_store.page_statement(filter_, **choice) for filter_ in filters}


def composed_exports() -> dict[str, Statement]:
    """The statements of exports with all columns, by name."""
    rows = {f"export_{name}": export_statement(export_spec({"format": name})) for name in EXPORT_FORMATS}
    for sort in ("-duration_ms", "suite"):
        request = {"format": "csv", "columns": ["name"], "filter": {"run_id": "run_1", "sort": sort}}
        rows[f"export_sorted_by_{sort.strip('-')}"] = export_statement(export_spec(request))
    rows |= {
        f"export_runs_{name}": export_statement(export_spec({"format": name, "content": "runs"}))
        for name in EXPORT_FORMATS
    }
    changed = {
        f"export_changed_{content}": export_statement(export_spec({"format": "csv", "content": content}, 7))
        for content in EXPORT_CONTENTS
    }
    ranges = {
        "export_ranges": compose("export_ranges"),
        "export_ranges_of_changed_runs": compose(
            "export_ranges", export_source="changed_runs", run_matches="run_filters", export_results="export_one_row"
        ),
    }
    return rows | changed | ranges | {"changed_run_keys": compose("changed_run_keys")}


def all_composed() -> dict[str, Statement]:
    """Every statement that any filter leads to, by name."""
    single = {compose(name) for name in (*SINGLE_ROWS, *SINGLE_OBJECTS, "runs_of_period", "roll_up")}
    receipts = receipt_pages() | receipt_pages(**CITUS.run_of_receipt)
    requested = {compose(name) for name in REQUESTED} | {compose(name, **ONE_ORGANIZATION) for name in REQUESTED}
    pages = {artifacts_store.page_statement()}
    by_id = pages | {page_by_id_statement(listed) for listed in LISTED_BY_ID}
    return {
        statement.name: statement for statement in composed_lists() | single | receipts | requested | by_id
    } | composed_exports()
