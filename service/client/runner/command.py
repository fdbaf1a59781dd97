"""The options of the command `run`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from service.client import arguments
from service.client.report_options import attachment_options, ignore_option, select_upload, upload_options
from service.client.runner.tools import find_tool, tool_names
from service.command_line import IntegerRange, NameChoice

if TYPE_CHECKING:
    from service.client.servers import ServerKey

_SPOOL: Final = ".zof-results/spool"
_MAX_CODE: Final = 125
_HELP: Final = f"""Execute tests, send reports, and excuse quarantined failures.

The exit code is the code of COMMAND: 128 + n after a signal n, 127 if the command isn't found, and 126 if it can't be
executed. It is 0 instead only if all of these conditions hold, which the output names otherwise:

\b
  exit_code      the code means failed tests, as the tool documents it
  reports        each report is new, complete, and stored without a problem
  outside_tests  nothing failed outside of a test, such as a suite's setup
  quarantines    an active quarantine names each failing test exactly
  missing_cases  each test of the baseline was executed
  failures       a failure explains the code, and their number is right
  second_cause   the code has no other cause, such as a coverage threshold

For the last condition, a plugin gives evidence from inside the tool, or the tool documents the code as failed tests
only, or --tests-failed-exit states it. A quarantine names a test exactly without * and ?.

pytest gives evidence without any setup. Playwright, Jest, and Vitest need a reporter: see docs/guides/ci.md. Without
--report, pytest and the reporter of Playwright send each finished test, and the reports of other tools are expected at
their usual paths (see `report --help`).

If the server doesn't respond for 10 s, nothing is excused, and the reports stay in the spool. Send them later:
`zof-results report {_SPOOL}`.
"""


class _Command(click.Command):
    """A command whose arguments follow `--`."""

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the usage with the separator."""
        formatter.write_usage(ctx.command_path, "[OPTIONS] -- COMMAND...")


@click.command("run", cls=_Command, help=_HELP)
@arguments.optional_server_options
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option(
    "--report", "patterns", multiple=True, metavar="GLOB",
    help="Report that COMMAND writes: a file, a folder, or a pattern; repeatable.  [default: see above]",
)  # fmt: skip
@click.option(
    "--tool", "tool_name", type=NameChoice(tool_names()), metavar="NAME",
    help=f"Tool that COMMAND executes: {', '.join(tool_names())}.  [default: recognized from COMMAND]",
)  # fmt: skip
@click.option(
    "--tests-failed-exit", "stated_code", type=IntegerRange(1, _MAX_CODE), metavar="CODE",
    help="State that COMMAND exits with CODE only because of failed tests.",
)  # fmt: skip
@click.option(
    "--allow-missing-cases", is_flag=True, help="Excuse failures also if tests of the baseline weren't executed."
)
@click.option(
    "--spool", type=click.Path(file_okay=False, path_type=Path), default=_SPOOL, show_default=True,
    help="Folder for reports that can't be delivered.",
)  # fmt: skip
@click.option(
    "--timeout", default=120, show_default=True, type=IntegerRange(1), metavar="SECONDS",
    help="Maximum time to wait until the reports are processed.",
)  # fmt: skip
@upload_options
@ignore_option
@attachment_options
def run(
    url: str | None, key: "ServerKey | None", command: tuple[str, ...], patterns: tuple[str, ...],
    tool_name: str | None, stated_code: int | None, allow_missing_cases: bool, spool: Path, timeout: int,
    ignored: tuple[str, ...], attached: tuple[str, ...], no_attachments: bool, **options: Any,
) -> None:  # fmt: skip
    """Execute a test command."""
    from service.client import attachments
    from service.client.runner import run as runner
    from service.client.runner.deliver import Destination
    from service.client.runner.execute import leave

    if options["project_id"] is None:  # the server isn't asked before the command
        raise click.UsageError("--project: must be set, or set RESULTS_PROJECT")
    upload = select_upload(url, key, **options)
    request = runner.RunRequest(
        command, upload, Destination(url, key) if url and key else None, find_tool(command, tool_name), patterns,
        ignored, stated_code, allow_missing_cases,
        attachments.select(attached, upload.fields, timeout, named=not no_attachments), timeout, spool,
    )  # fmt: skip
    leave(runner.run(request))  # a thread can still wait for the server
