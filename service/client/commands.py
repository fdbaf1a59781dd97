"""The commands that users run against a server: their options, and what of it is theirs to set in a CI job."""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import click
from click.core import ParameterSource
from pydantic import AfterValidator

from service.commands import Checked
from service.contracts.queries import BranchName, CaseRef, Name, SuiteName, Timestamp
from service.contracts.reports import Label, Shard, ShortText
from service.contracts.run_events import Identifier
from service.domain.events import EVENT_TYPES
from service.domain.exports import COLUMNS, COMPRESSIONS, EXPORT_FORMATS
from service.domain.statuses import RESULT_STATUSES

_PACKED: Final = {".gz": "gzip", ".zst": "zstd"}
_OF_FILE: Final = ("form", "compression", "columns", "raw")  # options of `export` that are no filters


def _server(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("must be an address such as https://results.example.org")
    return url


def _key(text: str) -> str:
    if not (text.isascii() and text.isprintable() and " " not in text):
        raise ValueError("must be an API key, zof_…")
    return text


_url_option = click.option(
    "--url",
    type=Checked(Annotated[Name, AfterValidator(_server)], "URL"),
    envvar="RESULTS_URL",
    show_envvar=True,
    required=True,
    help="The server.",
)
_key_option = click.option(
    "--key",
    type=Checked(Annotated[Name, AfterValidator(_key)], "KEY", is_secret=True),
    envvar="RESULTS_API_KEY",
    show_envvar=True,
    required=True,
    help="An API key.",
)
_WORDS: Final = Checked(Name, "TEXT")
_IDENTIFIER: Final = Checked(Identifier, "TEXT")
_BRANCH: Final = Checked(BranchName, "TEXT")
_TEXT: Final = Checked(ShortText, "TEXT")
_MOMENT: Final = Checked(Timestamp, "TIME")


@click.command()
@_url_option
@_key_option
@click.option("--run-id", type=_IDENTIFIER, required=True, help="The run that has to be good.")
@click.option(
    "--max-failures",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    metavar="N",
    help="So many failures are allowed.",
)
@click.option("--allow-flaky", is_flag=True, help="Don't count cases that passed only after failing.")
@click.option(
    "--timeout",
    default=600,
    show_default=True,
    type=click.IntRange(0),
    metavar="SECONDS",
    help="How long to wait for the run.",
)
def gate(url: str, key: str, run_id: str, max_failures: int, allow_flaky: bool, timeout: int) -> None:
    """Waits for a run and lets a pipeline pass or not.

    Exit code 0: passed. 1: failed. 2: the run was not complete in time, or an option is wrong. 3: the server refused
    or was out of reach.
    """
    from service.client import gate as gates
    from service.client.http import ServerError
    from service.domain.gates import Gate

    try:
        code = asyncio.run(gates.gate(url, key, run_id, Gate(max_failures, allow_flaky), timeout))
    except ServerError as error:
        click.echo(f"Error: {error}", err=True)
        code = 3
    raise SystemExit(code)


@click.command()
@_url_option
@_key_option
@click.option(
    "--type",
    "types",
    multiple=True,
    type=click.Choice(EVENT_TYPES),
    metavar="TYPE",
    help=f"Only these; may be repeated: {', '.join(EVENT_TYPES)}.",
)
@click.option("--run-id", type=_WORDS, help="Only what is about this run.")
@click.option("--json", "as_json", is_flag=True, help="The whole event as JSON, one a line.")
def tail(url: str, key: str, types: tuple[str, ...], run_id: str | None, as_json: bool) -> None:
    """Prints events as they happen, until Ctrl-C."""
    from service.client import tail as stream

    filters = [*(("type", event_type) for event_type in types), *([("run_id", run_id)] if run_id else [])]
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(stream.tail(url, key, filters, as_json=as_json))


def _file(_: click.Context, __: click.Parameter, target: Path) -> Path:
    if str(target) == "-" or not target.parent.is_dir():
        raise click.BadParameter(f"'{target}' must be a file in a folder that is there: it is checked when it is whole")
    return target


@click.command()
@_url_option
@_key_option
@click.option(
    "-o",
    "--output",
    "target",
    required=True,
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    callback=_file,
    help="Where it goes; a file that is there is replaced once the new one is whole.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(tuple(EXPORT_FORMATS)),
    help="Of the file, by default what its name ends in, or else csv.",
)
@click.option(
    "--compression",
    type=click.Choice(COMPRESSIONS),
    help="Of the file, or of the pages inside a Parquet one.  [default: none; zstd in Parquet]",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    type=click.Choice(COLUMNS),
    metavar="COLUMN",
    help=f"Only these, in this order; may be repeated: {', '.join(COLUMNS)}.",
)
@click.option("--raw", is_flag=True, help="Leave cells that a spreadsheet takes for formulas as they are.")
@click.option("--run-id", type=_WORDS, help="Only results of this run.")
@click.option(
    "--status", multiple=True, type=click.Choice(RESULT_STATUSES), metavar="STATUS",
    help=f"Only these; may be repeated: {', '.join(RESULT_STATUSES)}.",
)  # fmt: skip
@click.option("--from", "from_", type=_MOMENT, help="Only of runs completed then or later: 2026-05-20, or with a time.")
@click.option("--to", type=_MOMENT, help="Only of runs completed before then.")
@click.option("--project", "project_id", type=_WORDS, help="Only of this project.")
@click.option("--environment", type=_WORDS, help="Only of this environment.")
@click.option("--branch", type=_BRANCH, help="Only of this branch.")
@click.option("--case", type=Checked(CaseRef, "CASE"), help="Only of this case, case_….")
@click.option("--case-id", type=_WORDS, help="Only of cases with this id of their producer's own.")
@click.option("--suite", type=Checked(SuiteName, "TEXT"), help="Only of this suite; needs --run-id.")
@click.option(
    "--export-id", type=_WORDS, metavar="EXPORT",
    help="Fetch the file of this export, exp_…, instead of making a new one.",
)  # fmt: skip
def export(url: str, key: str, target: Path, export_id: str | None, **asked: Any) -> None:
    """Exports results in bulk into a file.

    Waits until the server has made the file, fetches it, over lost connections too, and checks every byte.
    """
    from service.client import export as exports

    if asked["suite"] is not None and asked["run_id"] is None:
        raise click.UsageError("--suite works only together with --run-id")
    if export_id:
        _refuse_what_is_asked(asked)
        asyncio.run(exports.fetch(url, key, export_id, target))
    else:
        asyncio.run(exports.export(url, key, _order(asked | _form(asked, target)), target))


def _form(asked: dict[str, Any], target: Path) -> dict[str, Any]:
    """Format and compression as the options say them, or else the name of the file: results.ndjson.zst."""
    *_, form, packed = ["", "", *target.suffixes]
    compression = _PACKED.get(packed)
    ending = (form if compression else packed).removeprefix(".")
    named = ending if ending in EXPORT_FORMATS else "csv"
    return {"form": asked["form"] or named, "compression": asked["compression"] or compression}


def _refuse_what_is_asked(asked: dict[str, Any]) -> None:
    """A file that is made already is as it is."""
    source = click.get_current_context().get_parameter_source
    if any(source(name) is ParameterSource.COMMANDLINE for name in asked):
        raise click.UsageError("with --export-id go only --output, --url and --key: its file is made already")


def _order(asked: dict[str, Any]) -> dict[str, Any]:
    """The body of the request that these options stand for."""
    filters = {name.rstrip("_"): value for name, value in asked.items() if name not in _OF_FILE and value}
    of_file = {"format": asked["form"], "compression": asked["compression"], "columns": list(asked["columns"])}
    return {name: value for name, value in of_file.items() if value} | {"raw": asked["raw"], "filter": filters}


@click.command()
@_url_option
@_key_option
@click.argument("files", nargs=-1, required=True)
@click.option("--run-id", type=_IDENTIFIER, help="The run that they are of, by default the CI job.")
@click.option(
    "--project", "project_id", type=_IDENTIFIER, envvar="RESULTS_PROJECT", show_envvar=True, required=True,
    help="What is tested.",
)  # fmt: skip
@click.option("--environment", type=_IDENTIFIER, help="Where the tests ran, for example staging.")
@click.option("--branch", type=_BRANCH, help="What was tested, by default the CI job's branch.")
@click.option("--commit", "commit_sha", type=_TEXT, help="What was tested, by default the CI job's commit.")
@click.option("--ci-url", type=_TEXT, help="Where the job is shown, by default the CI job's own page.")
@click.option(
    "--label", "labels", multiple=True, type=Checked(Label, "NAME:VALUE"), help="Of the run; may be repeated."
)
@click.option("--shard", type=Checked(Shard, "I/N"), help="Which part of the run the file is, for example 2/8.")
@click.option("--wait", is_flag=True, help="Wait for what becomes of them; exit code 1 where one is rejected.")
def report(url: str, key: str, files: tuple[str, ...], run_id: str | None, wait: bool, **said: Any) -> None:
    """Sends test reports: JUnit XML, CTRF, native JSON.

    FILES may be patterns such as 'target/**/TEST-*.xml'. Several files are shards of one run.
    """
    from service.client import ci
    from service.client import report as reports

    job = ci.current_job(os.environ)
    run_id = run_id or job.run_id
    if run_id is None:
        raise click.UsageError("--run-id is missing, and this is no CI job that is known here")
    fields = _report_fields(said, job._asdict())
    raise SystemExit(asyncio.run(reports.report(url, key, run_id, files, fields, wait=wait)))


def _report_fields(said: dict[str, Any], job: dict[str, Any]) -> list[tuple[str, str]]:
    """The query parameters that these options stand for, with what the CI job says where they say nothing."""
    fields = [(name, value or job.get(name)) for name, value in said.items() if name != "labels"]
    return [(name, value) for name, value in fields if value] + [("labels", label) for label in said["labels"]]
