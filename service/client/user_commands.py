"""The commands that users run against a server: their options, and the defaults that a CI job sets."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

import click

from service.client import arguments
from service.client.arguments import ci_server_options, project_option, run_options, server_options, timeout_option
from service.client.backtest import backtest
from service.client.ci import current_job, promoted_pipeline
from service.client.commands.cases import cases
from service.client.commands.gates import gates
from service.client.commands.projects import projects
from service.client.commands.quarantines import quarantines
from service.client.commands.runs import runs
from service.client.commands.webhooks import webhooks
from service.client.export_command import export
from service.client.gate_options import (
    missing_options,
    path_option,
    policy_options,
    select_absent,
    select_paths,
    selected_limits,
)
from service.client.report_options import attachment_options, ignore_option, select_upload, upload_options
from service.client.runner.command import run
from service.client.selections import select_runs
from service.client.tool_selections import SELECTIONS
from service.command_line import IntegerRange, NameChoice, print_line
from service.domain.errors import ServiceError
from service.events.model import EVENT_TYPES
from service.reports.format_table import list_usual_paths, supported_formats
from service.splits.model import MAX_PARTS, SplitUnit

if TYPE_CHECKING:
    from service.client.servers import ServerKey


_ERROR: Final = 3  # the exit code of `gate` if no decision is possible
_REPORT_HELP: Final = f"""Upload test reports of a run.

Formats: {supported_formats()}.

FILES are reports; folders, whose reports are found by their content; ZIP and TAR archives of reports, also compressed
ones; and patterns, such as '**/TEST-*.xml' for all modules. All files are one upload with one receipt. The same upload
can be repeated: it has the same receipt. The folder of a spool, such as .zof-results/spool, contains the reports that
`run` couldn't send: each is sent to its own run, and deleted after the server has accepted it.

Each file of a folder that isn't sent is printed on stderr, with the reason. A report in a format that can't be read is
sent: it makes the receipt `partial`, and gates block the run. --ignore excludes files on purpose.

\b
Usual paths:
{list_usual_paths()}

Exit codes: 0 if the server accepted the upload, and, with --wait, stored it completely, or if a job of a pull request
from a fork has neither a key nor a trusted publisher; 1 if a file is missing, no file is a report, the upload is
rejected, one of its results is rejected or one of its files can't be read (`partial`), it isn't processed in time, its
run was deleted, or the server rejects the request or doesn't respond for 60 s; 2 if an option is invalid.
"""


class _UsageError(click.UsageError):
    exit_code = _ERROR


class _GateCommand(click.Command):
    """A command that exits with 3 for usage and server errors, because 2 means that the run isn't complete."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            raise _UsageError(error.format_message(), error.ctx) from error

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise _UsageError(error.format_message(), ctx) from error
        except ServiceError as error:
            print_line(f"Error: {error}", err=True)
            raise SystemExit(_ERROR) from error


@click.command(cls=_GateCommand)
@ci_server_options
@run_options
@click.option("--gate", "gate_name", type=arguments.IDENTIFIER, help="Gate of the server.")
@policy_options
@project_option(
    help_text="Only the run of this project, with --pipeline. RESULTS_PROJECT doesn't apply.  [default: all projects]",
    uses_variable=False,
)
@missing_options
@path_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, and the text on stderr.")
@timeout_option("the run is complete")
def gate(
    url: str, key: "ServerKey", run_id: str | None, pipeline: bool, project_id: str | None, gate_name: str | None,
    timeout: int, allowed_parts: tuple[str, ...], needs: str | None, prefixes: tuple[str, ...], as_json: bool,
    **limits: float | None,
) -> None:  # fmt: skip
    """Wait for a run and decide whether a CI job passes.

    Prints the failures, new ones first, with their history on the base branch.

    The rules are those of --gate, or the limits in the options --max-… and --min-…, or, without both, those of the gate
    `default`. If that gate doesn't exist, any failure blocks. The server stores the decision. It doesn't store one by
    limits if the API key lacks the permission reports:create.

    A CI job that normally sends results, and that sent none to this run, blocks the run. --allow-missing-parts and
    --needs state exceptions.

    With --pipeline, the runs of all projects of the pipeline that the API key can read are evaluated, or that of
    --project. They are completed first, as soon as their reports are processed. A project that has a run in the
    pipeline of the base branch, and none in this one, blocks like a missing job. The exit code is the highest.

    The API key needs the permission results:read (role viewer). --pipeline also needs reports:create (role uploader),
    to read the receipts of the reports and to complete the runs.

    Exit codes: 0 if the runs pass, or if a job of a pull request from a fork has no key; 1 if a run is blocked or a
    project sent no results; 2 if a run isn't complete in time or lacks a rejected report; 3 if an option is invalid,
    the server rejects a request, or the server doesn't respond.
    """
    from service.client import gate as gating

    selected = select_runs(current_job(os.environ), run_id, project_id, pipeline=pipeline)
    policy = selected_limits(limits)
    if gate_name and policy:
        raise click.UsageError("--gate: can't be combined with --max-… and --min-… options")
    rules = {"gate": gate_name} if gate_name else {"policy": policy} if policy else {}
    request = gating.GateRequest(rules, select_absent(allowed_parts, needs))
    output = gating.GateOutput(as_json, select_paths(prefixes))
    raise SystemExit(gating.gate(url, key, selected, request, timeout, output))


@click.command()
@ci_server_options
@run_options
@project_option(help_text="Write a comment of this project only.  [default: one for all projects]")
@missing_options
@path_option
@click.option("--github", "code_host", flag_value="github", help="Comment on the pull request of GitHub.")
@click.option("--gitlab", "code_host", flag_value="gitlab", help="Comment on the merge request of GitLab.")
@click.option("--markdown", "code_host", flag_value="markdown", help="Print the comment.")
@click.option(
    "--pull-request", type=arguments.IDENTIFIER, help="Number of the pull request.  [default: that of the CI job]"
)
@timeout_option("the run is complete, and until the code host has the comment if it limits requests or jobs replace it")
def comment(
    url: str, key: "ServerKey", run_id: str | None, pipeline: bool, project_id: str | None, code_host: str | None,
    pull_request: str | None, timeout: int, allowed_parts: tuple[str, ...], needs: str | None,
    prefixes: tuple[str, ...],
) -> None:  # fmt: skip
    """Comment on a pull request with the failures of a run.

    The command writes one comment with a section for each project, and later calls update only their own sections.
    With --pipeline, these are all projects that the API key can read. With --project, the project has its own comment.

    The default is the code host whose CI job runs the command. GitHub needs GITHUB_TOKEN with the permission
    `pull-requests: write`, and GitLab needs GITLAB_TOKEN with the scope `api`. If the token can't write comments, or
    other jobs replace the comment until the end of the wait, it is printed.

    Exit codes: 0 if the comment is written or printed, or if a job of a pull request from a fork has no key; 1 if the
    server or the code host rejects a request or doesn't respond; 2 if a run isn't complete in time or an option is
    invalid.
    """
    from service.client import comment as comments

    job = current_job(os.environ)
    job = job._replace(pull_request=pull_request or job.pull_request)
    selected = select_runs(job, run_id, project_id, pipeline=pipeline)
    request = comments.CommentRequest(selected, select_paths(prefixes), select_absent(allowed_parts, needs))
    host = comments.detect_code_host(os.environ) if code_host is None else comments.CODE_HOSTS.get(code_host)
    raise SystemExit(comments.comment(url, key, request, job, host, timeout))


@click.command()
@server_options
@run_options
@project_option(
    help_text="Only the run of this project, with --pipeline.  [default: all projects]", uses_variable=False
)
@click.option(
    "--format", "tool", type=NameChoice(list(SELECTIONS)), default="plain", show_default=True, metavar="FORMAT",
    help=f"Form of the selection: {', '.join(SELECTIONS)}.",
)  # fmt: skip
@click.option(
    "--missing", is_flag=True,
    help="Print the missing items of splits, and the tests that only the baseline executed, not the failed ones.",
)  # fmt: skip
def failed(
    url: str, key: "ServerKey", run_id: str | None, pipeline: bool, project_id: str | None, tool: str, missing: bool
) -> None:  # fmt: skip
    """Print the failed tests of a run, to run them again.

    stdout contains a selection for a test tool: all tests whose final status is failed or error. If the tool can't
    select a test exactly, the selection contains its file, class, or package, and stderr says so.

    \b
    plain       suite > name, one test per line
    pytest      pytest @FILE
    playwright  npx playwright test --test-list=FILE
    jest        xargs -d '\\n' npx jest < FILE
    go          xargs -d '\\n' -n 2 go test < FILE
    gradle      xargs -d '\\n' gradle test < FILE

    An empty selection prints nothing on stdout: most tools then run all tests, so test the file with `test -s FILE`.

    The API key needs the permission results:read (role viewer).

    Exit codes: 0, also if no test failed; 1 if the run doesn't exist, its tests are unknown, or the server rejects a
    request or doesn't respond; 2 if an option is invalid.
    """
    from service.client import failed as failures

    selection = select_runs(current_job(os.environ), run_id, project_id, pipeline=pipeline)
    failures.print_selection(url, key, selection, tool, missing=missing)


@click.command()
@server_options
@click.option(
    "--type", "types", multiple=True, type=NameChoice(EVENT_TYPES), metavar="TYPE",
    help=f"Print only events of this type; repeatable. Types: {', '.join(EVENT_TYPES)}.",
)  # fmt: skip
@click.option("--run-id", type=arguments.NAME, help="Print only events about this run.")
@click.option("--json", "as_json", is_flag=True, help="Print each event as one line of JSON.")
def tail(url: str, key: "ServerKey", types: tuple[str, ...], run_id: str | None, as_json: bool) -> None:
    """Print events as they happen, until Ctrl-C.

    Exit codes: 130 after Ctrl-C; 1 if the server rejects the request; 2 if an option is invalid. If the server doesn't
    respond, the command waits for it, and continues after the last event.
    """
    from service.client import tail as stream

    filters = [*(("type", event_type) for event_type in types), *([("run_id", run_id)] if run_id else [])]
    stream.tail(url, key, filters, as_json=as_json)


@click.command()
@arguments.split_server_options
@project_option(help_text="Project of the results.")
@click.option(
    "--key", "split_key", type=arguments.PATH_ID, metavar="NAME",
    help="Name of the split, which its pipeline has once.  [default: the name of the CI job, else `tests`, and the"
    " variant]",
)  # fmt: skip
@click.option("--total", type=IntegerRange(1, MAX_PARTS), help="Number of parts.  [default: that of the CI job]")
@click.option("--index", type=IntegerRange(1, MAX_PARTS), help="Number of the part.  [default: that of the CI job]")
@click.option(
    "--unit", type=NameChoice(get_args(SplitUnit)), default="file", show_default=True, metavar="file|case",
    help="What an item is: the path of a file, or a case, written `suite > name`.",
)  # fmt: skip
@click.option(
    "--variant", multiple=True, type=arguments.VARIANT, envvar="RESULTS_VARIANT",
    help="Pair that the results have, for example os:linux; repeatable.",
)  # fmt: skip
@click.option("--run-id", type=arguments.PATH_ID, envvar="RESULTS_RUN_ID", help="Run.  [default: the CI pipeline]")
@click.option(
    "--expect-results", "expects_results", is_flag=True,
    help="State that each item contains a test, so that an item without results is missing.",
)  # fmt: skip
def split(url: str | None, key: "ServerKey | None", **options: Any) -> None:
    """Print the tests that this parallel job runs.

    stdin has the items of all jobs, one per line. The server plans the parts by the durations of earlier runs, and all
    jobs follow one plan. Without a response within 4 s, or without a key, the items are split by name. A file in
    .zof-results/splits keeps the part, and `report` and `run` of the same job send it, so that gates know each item
    that no job executed. The key needs the permission reports:create (role uploader).

    Exit codes: 0 if the items are printed, also if the job has none; 1 if the server rejects the request, or the file
    can't be written; 2 if an option or item is invalid; 3 if the plan of the key has other items, parts, or variants.
    """
    from service.client import splits

    stated = splits.describe_split(current_job(os.environ), **options)
    splits.print_part(url, key, stated, splits.read_items(sys.stdin.buffer.read(), options["unit"]))


@click.command(help=_REPORT_HELP)
@ci_server_options
@click.argument("files", nargs=-1, required=True)
@upload_options
@ignore_option
@attachment_options
@click.option(
    "--wait", is_flag=True, help="Wait until the upload is processed. Exit with code 1 unless it is stored completely."
)
@timeout_option("the upload is processed, with --wait or if the reports name files")
@click.option(
    "--split", "splits", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="File of .zof-results/splits from the job with these results; repeatable.  [default: those of this job]",
)  # fmt: skip
def report(
    url: str, key: "ServerKey", files: tuple[str, ...], wait: bool, timeout: int, ignored: tuple[str, ...],
    attached: tuple[str, ...], no_attachments: bool, splits: tuple[Path, ...], **options: Any,
) -> None:  # fmt: skip
    """Upload test reports."""
    from service.client import attachments
    from service.client import report as reports
    from service.client.runner.spool import find_entries

    wait_s = timeout if wait else None
    if entries := [entry for file in files for entry in find_entries(Path(file))]:
        raise SystemExit(reports.report_spool(url, key, entries, wait_s=wait_s))
    upload = select_upload(url, key, **options)
    chosen = attachments.select(attached, upload.fields, timeout, named=not no_attachments)
    exit_code = reports.report(
        url, key, upload.run_id, files, upload.fields, wait_s=wait_s, ignored=ignored, expects_new=upload.expects_new,
        attachments=chosen, splits=splits, owners=upload.owners,
    )  # fmt: skip
    raise SystemExit(exit_code)


@click.command()
@server_options
@run_options
@project_option(help_text="Only the run of this project, with --pipeline.  [default: all projects]")
@click.option(
    "--commit", "commit_sha", type=arguments.TEXT, required=True,
    help="Commit that the CI system states for the pull request. Runs of another commit stay untrusted.",
)  # fmt: skip
@click.option(
    "--receipt", "ids", multiple=True, type=arguments.TEXT, metavar="ID",
    help="Receipt of a report that the job of the fork has sent; repeatable.",
)  # fmt: skip
@click.option(
    "--receipts", "files", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="File with such receipts, one per line, which the job of the fork has stored; repeatable.",
)  # fmt: skip
@click.option(
    "--pull-request", type=arguments.IDENTIFIER,
    help="Number of the pull request, as the CI system states it.  [default: the one that the run states]",
)  # fmt: skip
@click.option(
    "--base-branch", type=arguments.BRANCH,
    help="Target branch of the pull request, as the CI system states it.  [default: the default branch of the project]",
)  # fmt: skip
@timeout_option("the reports are stored")
def promote(
    url: str, key: "ServerKey", run_id: str | None, pipeline: bool, project_id: str | None, ids: tuple[str, ...],
    files: tuple[Path, ...], timeout: int, **stated: str | None,
) -> None:  # fmt: skip
    """Make untrusted runs of forks trusted.

    Only the reports of the receipts become trusted. Everything that other uploads have added to the run is deleted,
    because anybody can send them. The server promotes a report only if it has this commit. With --pipeline, the
    receipts can be of several runs of the pipeline. In a job of the event `workflow_run` of GitHub, it is the pipeline
    of the workflow that triggered the job.

    The API key needs the permission runs:promote (role engineer).

    Exit codes: 0 if the runs are trusted, and their reports are stored; 1 if a report can't be stored or isn't stored
    in time, or if the server rejects a request or doesn't respond; 2 if an option is invalid.
    """
    from service.client import promotions

    job = current_job(os.environ)
    if pipeline:
        job = job._replace(pipeline=promoted_pipeline(job, os.environ))
    promotion = {name: value for name, value in stated.items() if value}
    selection = select_runs(job, run_id, project_id, pipeline=pipeline)
    receipts = promotions.read_receipts(ids, files)
    raise SystemExit(promotions.promote(url, key, selection, receipts, promotion, timeout))


USER_COMMANDS: Final[tuple[click.Command, ...]] = (
    backtest, cases, comment, export, failed, gate, gates, projects, promote, quarantines, report, run, runs,
    split, tail, webhooks,
)  # fmt: skip
