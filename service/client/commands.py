"""The commands that users run against a server: their options, and the defaults that a CI job sets."""

import contextlib
import os
from typing import Any, Final

import click

from service.client.arguments import (
    BRANCH,
    IDENTIFIER,
    LABEL,
    NAME,
    SHARD,
    TEXT,
    VARIANT,
    run_options,
    selected_run,
    server_options,
)  # fmt: skip
from service.client.ci import current_job
from service.client.export_command import export
from service.domain.events import EVENT_TYPES
from service.domain.report_formats import supported_formats

_ERROR: Final = 3  # the exit code of `gate` if no decision is possible
_REPORT_HELP: Final = f"""Upload test reports of a run.

Formats: {supported_formats()}.

FILES can be patterns such as 'target/**/TEST-*.xml'. All files are one upload with one receipt.
"""


@click.command()
@server_options
@click.option("--run-id", type=IDENTIFIER, required=True, help="Run to evaluate.")
@click.option(
    "--max-failures", default=0, show_default=True, type=click.IntRange(0), metavar="N",
    help="Maximum number of failed and flaky results.",
)  # fmt: skip
@click.option("--allow-flaky", is_flag=True, help="Don't count results that passed only after a failed attempt.")
@click.option(
    "--timeout", default=600, show_default=True, type=click.IntRange(0), metavar="SECONDS",
    help="Maximum time to wait until the run is complete.",
)  # fmt: skip
def gate(url: str, key: str, run_id: str, max_failures: int, allow_flaky: bool, timeout: int) -> None:
    """Wait for a run and decide whether a CI job passes.

    Exit codes: 0 if the run passes, 1 if it is blocked, 2 if it isn't complete in time or an option is invalid, and 3
    if the server rejects the request or doesn't respond.
    """
    from service.client import gate as gates
    from service.client.http import ServerError
    from service.domain.gates import Gate

    try:
        code = gates.gate(url, key, run_id, Gate(max_failures, allow_flaky), timeout)
    except ServerError as error:
        click.echo(f"Error: {error}", err=True)
        code = _ERROR
    raise SystemExit(code)


@click.command()
@server_options
@click.option(
    "--type", "types", multiple=True, type=click.Choice(EVENT_TYPES), metavar="TYPE",
    help=f"Print only events of this type; repeatable. Types: {', '.join(EVENT_TYPES)}.",
)  # fmt: skip
@click.option("--run-id", type=NAME, help="Print only events about this run.")
@click.option("--json", "as_json", is_flag=True, help="Print each event as one line of JSON.")
def tail(url: str, key: str, types: tuple[str, ...], run_id: str | None, as_json: bool) -> None:
    """Print events as they happen, until Ctrl-C."""
    from service.client import tail as stream

    filters = [*(("type", event_type) for event_type in types), *([("run_id", run_id)] if run_id else [])]
    with contextlib.suppress(KeyboardInterrupt):
        stream.tail(url, key, filters, as_json=as_json)


@click.command(help=_REPORT_HELP)
@server_options
@click.argument("files", nargs=-1, required=True)
@run_options
@click.option(
    "--project", "project_id", type=IDENTIFIER, envvar="RESULTS_PROJECT", show_envvar=True, required=True,
    help="Project of the run.",
)  # fmt: skip
@click.option("--environment", type=IDENTIFIER, help="System under test, for example staging.")
@click.option("--branch", type=BRANCH, help="Tested branch.  [default: the branch of the CI job]")
@click.option("--commit", "commit_sha", type=TEXT, help="Tested commit.  [default: the commit of the CI job]")
@click.option("--ci-url", type=TEXT, help="Link to the job.  [default: the page of the CI job]")
@click.option("--base-branch", type=BRANCH, help="Target branch of the pull request.  [default: of the CI job]")
@click.option("--pull-request", type=IDENTIFIER, help="Number of the pull request.  [default: of the CI job]")
@click.option("--label", "labels", multiple=True, type=LABEL, help="Label of the run; repeatable.")
@click.option("--shard", type=SHARD, help="Part of the run that the files contain, for example 2/8.")
@click.option(
    "--variant", multiple=True, type=VARIANT,
    help="Pair that distinguishes this job in a matrix, for example os:linux; repeatable.",
)  # fmt: skip
@click.option("--not-final", is_flag=True, help="Expect further uploads. `gate --pipeline` completes the run.")
@click.option("--wait", is_flag=True, help="Wait until the upload is processed. Exit with code 1 if it is rejected.")
def report(
    url: str, key: str, files: tuple[str, ...], run_id: str | None, pipeline: bool, wait: bool, **options: Any
) -> None:
    """Upload test reports."""
    from service.client import report as reports

    job = current_job(os.environ)
    selected = selected_run(job, run_id, pipeline=pipeline)
    waits_for_others = options.pop("not_final") or (pipeline and not options["shard"])  # shards complete their run
    options["final"] = "false" if waits_for_others else None
    raise SystemExit(reports.report(url, key, selected, files, _report_fields(options, job._asdict()), wait=wait))


def _report_fields(options: dict[str, Any], job: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the query parameters of the upload. The CI job sets those that the options don't."""
    repeated = {"labels": options.pop("labels"), "variant": options.pop("variant")}
    fields = [(name, value or job.get(name)) for name, value in options.items()]
    fields += [(name, value) for name, values in repeated.items() for value in values]
    return [(name, value) for name, value in fields if value]


USER_COMMANDS: Final = (export, gate, report, tail)
