"""The commands `runs`."""

from typing import Any, Final

import click

from service.client.arguments import PATH_ID, filter_options, selected_filters
from service.client.commands.requests import (
    ApiObject,
    Requests,
    Table,
    add_action,
    add_delete,
    add_show,
    examples,
    limit_options,
    request_options,
    to_params,
)
from service.domain.filters import filter_parameters

_COMMIT: Final = 10  # digits of a commit that are shown
_FILTERS: Final = filter_parameters("runs")
_run: Final = click.argument("run_id", type=PATH_ID)


def _counts(run: ApiObject) -> str:
    return ", ".join(f"{count} {name}" for name, count in run["counts"].items() if count)


_TABLE: Final = Table(
    "runs", {
        "RUN": "run_id", "PROJECT": "project_id", "STATUS": "status",
        "COMPLETE": "complete", "BRANCH": "branch",
        "COMMIT": lambda run: (run["commit_sha"] or "")[:_COMMIT], "COMPLETED": "completed_at",
        "RESULTS": _counts, "TITLE": "title",
    },
)  # fmt: skip


@click.group()
def runs() -> None:
    """List, show, complete, and delete runs."""


@runs.command("list", epilog=examples(
    "runs list --project shop --branch main --status failed", "runs list --from 2026-11-01 --all --json",
))  # fmt: skip
@request_options
@filter_options(_FILTERS, {"project_id": "RESULTS_PROJECT"})
@limit_options
def list_runs(requests: Requests, limit: int | None, **options: Any) -> None:
    """List runs, latest completed first."""
    requests.show_list("/runs", _TABLE, limit, to_params(**selected_filters(_FILTERS, options)))


add_show(runs, _run, "Show one run with its parts.", "runs show ci-43", "runs show ci-43 --json | jq .counts.failed")
add_action(
    runs, "complete", _run,
    "Complete a run whose reports were sent with --not-final.\n\n"
    "A complete run stays unchanged. Needs the permission reports:create (role uploader).",
    "runs complete nightly-7",
)  # fmt: skip
add_delete(
    runs, _run, "run", "Delete the run {run_id} with its results, artifacts, and files?",
    "Delete a run with its results, artifacts, and files.\n\nNeeds the permission runs:delete (role admin).",
    "runs delete ci-43 --yes",
)  # fmt: skip
