"""The commands `cases`."""

from typing import Any, Final, get_args

import click

from service.cases.model import CASE_FILTERS, Ranking
from service.client.arguments import PATH_ID, TEXT, filter_options, project_option, selected_filters
from service.client.commands.requests import (
    ApiObject,
    Requests,
    Table,
    examples,
    limit_options,
    request_options,
    resource_path,
    to_params,
)
from service.command_line import IntegerRange, NameChoice
from service.comparison.model import full_name
from service.domain.filters import filter_parameters

_HISTORY_FILTERS: Final = filter_parameters("history")
_case: Final = click.argument("case_id", type=PATH_ID)
_runs: Final = click.option(
    "--runs", type=IntegerRange(1, 200), metavar="N", help="Number of newest runs in the statistics.  [default: 50]"
)


def _share(case: ApiObject, name: str) -> str | None:
    """Return a number of results and the number of executed results of a case, which states how much a rate means."""
    return f"{case[name]} of {case['executed']}" if case["executed"] else None


def _duration(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else f"{milliseconds / 1_000:.3f} s"


def _mean_duration(case: ApiObject) -> str | None:
    duration = _duration(case["mean_duration_ms"])
    return f"mean {duration}" if duration and case["executed"] > 1 else duration


def _flaky_status(result: ApiObject) -> str:
    return f"{result['status']} (flaky)" if result["flaky"] else str(result["status"])


_CASES: Final = Table(
    "cases", {
        "ID": "id", "STATE": lambda case: case.get("state", {}).get("value"),  # an older server has no states
        "LAST STATUS": "last_status",
        "FAILED": lambda case: _share(case, "failed"), "FLAKY": lambda case: _share(case, "flaky"),
        "DURATION": _mean_duration, "CASE": full_name,
    },
)  # fmt: skip
_HISTORY: Final = Table(
    "results", {
        "RUN": "run_id", "STATUS": _flaky_status,
        "DURATION": lambda result: _duration(result["duration_ms"]), "BRANCH": "branch",
        "COMPLETED": "completed_at", "RESULT": "id", "FAILURE": "failure_summary",
    },
)  # fmt: skip


@click.group()
def cases() -> None:
    """Search, rank, and show the cases of a project."""


@cases.command("list", epilog=examples(
    "cases list --project shop --suite checkout", "cases list --project shop --sort flaky --q 'pay card'",
    "cases list --project shop --state broken --state flaky",
))  # fmt: skip
@request_options
@project_option(help_text="Project of the cases. Required, unless the API key belongs to one.")
@click.option("--suite", type=TEXT, help="Suite.")
@filter_options(CASE_FILTERS)
@click.option(
    "--sort", type=NameChoice(get_args(Ranking)),
    help="Rank by failing results, flaky results, or duration.  [default: the order of the suites]",
)  # fmt: skip
@_runs
@limit_options
def list_cases(
    requests: Requests, project_id: str | None, suite: str | None, sort: str | None, runs: int | None,
    limit: int | None, **options: Any,
) -> None:  # fmt: skip
    """List or rank the cases of a project with states and statistics."""
    filters = selected_filters(CASE_FILTERS, {"sort": sort, **options})
    params = to_params(project_id=project_id, suite=suite, sort=sort, runs=runs, **filters)
    requests.show_list("/cases", _CASES, limit, params)


@cases.command("show", epilog=examples("cases show case_00c0ffee00c0ffee"))
@_case
@request_options
@_runs
def show_case(requests: Requests, case_id: str, runs: int | None) -> None:
    """Show one case with its state and statistics."""
    requests.show(resource_path("cases", case_id), to_params(runs=runs))


@cases.command("history", epilog=examples("cases history case_00c0ffee00c0ffee --status failed"))
@_case
@request_options
@filter_options(_HISTORY_FILTERS)
@limit_options
def list_history(requests: Requests, case_id: str, limit: int | None, **options: Any) -> None:
    """List the results of a case, newest run first."""
    params = to_params(**selected_filters(_HISTORY_FILTERS, options))
    requests.show_list(resource_path("cases", case_id, "history"), _HISTORY, limit, params)
