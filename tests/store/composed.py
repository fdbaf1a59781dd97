"""Every reading statement that some filter leads to."""

import itertools
from collections.abc import Iterator
from typing import Any

from service.domain.filters import ResultFilter, RunFilter
from service.domain.ids import CaseKey
from service.store.postgres.composition import Statement, compose
from service.store.queries import cases as read_cases
from service.store.queries import results as read_results
from service.store.queries import runs as read_runs

ASKED: dict[str, list[Any]] = {
    "statuses": [(), ("f",), ("e",), ("s",), ("c",), ("p",), ("e", "f"), ("f", "p")],
    "project_id": [None, "shop"],
    "environment": [None, "staging"],
    "branch": [None, "main"],
    "run_id": [None, "run_1"],
    "case_key": [None, CaseKey(7)],
    "case_id": [None, "tc_1"],
    "suite": [None, "auth"],
}

ONES = ("one_result", "one_run", "page_of_artifacts", "one_artifact", "has_result", "complete_runs", "case_project")
LISTED = ("listed_exports", "listed_webhooks", "listed_deliveries")
ALONE = ("one_export", "one_webhook", "one_delivery")


def result_filters() -> Iterator[ResultFilter]:
    """Every combination of filters, with and without each."""
    for values in itertools.product(*ASKED.values()):
        asked = dict(zip(ASKED, values, strict=True))
        if asked["suite"] is None or asked["run_id"] is not None:
            yield ResultFilter(**asked)


def run_filters() -> Iterator[RunFilter]:
    for project, environment, branch in itertools.product([None, "shop"], [None, "staging"], [None, "main"]):
        yield RunFilter(project_id=project, environment=environment, branch=branch)


def all_composed() -> set[Statement]:
    """Each statement once, however many filters lead to it."""
    lists = {read_results.page_statement(wanted) for wanted in result_filters()}
    runs = {read_runs.page_statement(wanted) for wanted in run_filters()}
    cases = {read_cases.page_statement(of_one_suite=alone) for alone in (True, False)} | {read_cases.one_statement()}
    ones = {compose(name) for name in (*ONES, *ALONE)}
    by_id = {compose("page_by_id", listed=listed) for listed in LISTED}
    return lists | runs | cases | ones | by_id
