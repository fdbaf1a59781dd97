"""The `zof-results` command: thin subcommands over the use cases; each process is assembled here."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from service.domain.errors import ServiceError
from service.domain.events import EVENT_TYPES
from service.domain.exports import COLUMNS, COMPRESSIONS, FORMATS
from service.domain.keys import ROLES, Role
from service.domain.statuses import RESULT_STATUSES
from service.resources import database_pool, database_url
from service.settings import Settings
from service.store import audit, migrations, organizations
from service.store.database import Connection, Row, outages_named
from service.usecases import administer, keys

T = TypeVar("T")
_OF_FILE = ("form", "compression", "columns", "raw")  # options of `export` that are no filters
_CONSUMERS = (sys.executable, "-m", "consumers")


_url_option = click.option("--url", envvar="RESULTS_URL", required=True, help="The server.  [$RESULTS_URL]")
_key_option = click.option("--key", envvar="RESULTS_API_KEY", required=True, help="An API key.  [$RESULTS_API_KEY]")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="zof-results")
def cli() -> None:
    """Results API: keeps the outcome of every validation run and answers questions about it.

    Settings come from the environment (RESULTS_DATABASE_URL, RESULTS_AMQP_URL, …); the README lists them.
    """


@cli.command()
@click.option(
    "--processes", default=1, show_default=True, type=click.IntRange(1, 64), help="So many serve on the one port."
)
def api(processes: int) -> None:
    """Serves the Results API over HTTP until SIGTERM or Ctrl-C.

    Of several processes, one that dies is started again. Each has its own RESULTS_DATABASE_POOL_SIZE connections,
    counts rate limits by itself unless RESULTS_RATE_LIMIT_URL is set, and answers /metrics for itself alone.
    """
    from service.api import serve  # a command loads what it runs, so that `keys create` starts at once

    serve.run(Settings(), processes)


@cli.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def consume(arguments: tuple[str, ...]) -> None:
    """Takes messages into the store until SIGTERM or Ctrl-C."""
    os.execv(_CONSUMERS[0], [*_CONSUMERS, *arguments])  # noqa: S606 - our own module, no shell


@cli.command("dead-letters", context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def dead_letters(arguments: tuple[str, ...]) -> None:
    """What could not be taken, with the reason: list, show, replay, discard."""
    os.execv(_CONSUMERS[0], [*_CONSUMERS, "dead-letters", *arguments])  # noqa: S606 - our own module, no shell


@cli.command()
@click.option(
    "--without-rabbitmq", is_flag=True, help="Use the queue embedded in the database, as where none is installed."
)
def dev(without_rabbitmq: bool) -> None:
    """Runs the whole product on this machine until Ctrl-C: PostgreSQL, RabbitMQ, API, consumers, first data."""
    from service.dev import stack

    stack.run(Settings(), with_rabbitmq=not without_rabbitmq)


@cli.command()
@_url_option
@_key_option
@click.option("--run-id", required=True, help="The run that has to be good.")
@click.option("--max-failures", default=0, show_default=True, type=click.IntRange(0), help="So many are allowed.")
@click.option("--allow-flaky", is_flag=True, help="Don't count cases that passed only after failing.")
@click.option("--timeout", default=600, show_default=True, type=click.IntRange(0), help="Seconds to wait for the run.")
def gate(url: str, key: str, run_id: str, max_failures: int, allow_flaky: bool, timeout: int) -> None:
    """Waits until a run is complete and lets a pipeline pass or not.

    Exit code 0: passed. 1: failed. 2: the run was not complete in time. 3: the server refused or was out of reach.
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


@cli.command()
@_url_option
@_key_option
@click.option("--type", "types", multiple=True, type=click.Choice(EVENT_TYPES), help="Only these; may be repeated.")
@click.option("--run-id", help="Only what is about this run.")
@click.option("--json", "as_json", is_flag=True, help="The whole event as JSON, one a line.")
def tail(url: str, key: str, types: tuple[str, ...], run_id: str | None, as_json: bool) -> None:
    """Prints events as they happen, until Ctrl-C."""
    from service.client import tail as stream

    filters = [*(("type", event_type) for event_type in types), *([("run_id", run_id)] if run_id else [])]
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(stream.tail(url, key, filters, as_json=as_json))


@cli.command()
@_url_option
@_key_option
@click.option(
    "-o", "--output", "target", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The file."
)
@click.option("--format", "form", default="csv", show_default=True, type=click.Choice(FORMATS))
@click.option(
    "--compression", type=click.Choice(COMPRESSIONS), help="Of the file, or of the pages inside a Parquet one."
)
@click.option("--column", "columns", multiple=True, type=click.Choice(COLUMNS), help="Only these, in this order.")
@click.option("--raw", is_flag=True, help="Leave cells that a spreadsheet takes for formulas as they are.")
@click.option("--run-id", help="Only results of this run.")
@click.option("--status", multiple=True, type=click.Choice(RESULT_STATUSES), help="Only these; may be repeated.")
@click.option("--from", "from_", help="Only of runs completed then or later: a date or a time.")
@click.option("--to", help="Only of runs completed before.")
@click.option("--project", "project_id", help="Only of this project.")
@click.option("--environment", help="Only of this environment.")
@click.option("--branch", help="Only of this branch.")
@click.option("--case", help="Only of this case, case_….")
@click.option("--case-id", help="Only of cases with the producer's id.")
@click.option("--suite", help="Only of this suite; with --run-id.")
@click.option("--export-id", help="Fetch the file of this export instead of making a new one.")
def export(url: str, key: str, target: Path, export_id: str | None, **asked: Any) -> None:
    """Exports results in bulk into a file, and checks that it arrived whole."""
    from service.client import export as exports

    fetching = (
        exports.fetch(url, key, export_id, target) if export_id else exports.export(url, key, _order(asked), target)
    )
    asyncio.run(fetching)


def _order(asked: dict[str, Any]) -> dict[str, Any]:
    """The body of the request that these options stand for."""
    filters = {name.rstrip("_"): value for name, value in asked.items() if name not in _OF_FILE and value}
    of_file = {"format": asked["form"], "compression": asked["compression"], "columns": list(asked["columns"])}
    return {name: value for name, value in of_file.items() if value} | {"raw": asked["raw"], "filter": filters}


@cli.command()
@_url_option
@_key_option
@click.argument("files", nargs=-1, required=True)
@click.option("--run-id", help="The run that they are of; in a CI job it is that job by default.")
@click.option("--project", "project_id", envvar="RESULTS_PROJECT", required=True, help="[$RESULTS_PROJECT]")
@click.option("--environment", help="Where the tests ran, for example staging.")
@click.option("--branch", help="By default the CI job's.")
@click.option("--commit", "commit_sha", help="By default the CI job's.")
@click.option("--ci-url", help="By default the CI job's.")
@click.option("--label", "labels", multiple=True, help="name:value; may be repeated.")
@click.option("--shard", help="Which part of the run the file is, for example 2/8.")
@click.option("--wait", is_flag=True, help="Wait for what becomes of them; exit code 1 where one is rejected.")
def report(url: str, key: str, files: tuple[str, ...], run_id: str | None, wait: bool, **said: Any) -> None:
    """Sends test reports: JUnit XML, CTRF, native JSON. FILES may be patterns such as 'target/**/TEST-*.xml'."""
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


@cli.group()
def schema() -> None:
    """The database schema."""


@schema.command("apply")
def apply_schema() -> None:
    """Brings the database to the current schema; does nothing where it is there already."""
    _report_migrations("applied", _run(lambda settings: migrations.apply(database_url(settings))))


@schema.command("status")
def schema_status() -> None:
    """Says what `schema apply` would do; exit code 1 where it would do something."""
    missing = _run(lambda settings: migrations.pending(database_url(settings)))
    _report_migrations("missing", missing)
    raise SystemExit(1 if missing else 0)


@cli.group("organizations")
def organization_commands() -> None:
    """The tenants."""


@organization_commands.command("create")
@click.argument("slug")
@click.option("--name", help="What people call it, by default the slug.")
def create_organization(slug: str, name: str | None) -> None:
    """Makes the organization SLUG, the name that events carry."""
    _run(_connected(lambda connection: administer.create_organization(connection, slug, name or slug)))
    click.echo(f"made organization {slug}", err=True)


@organization_commands.command("list")
def list_organizations() -> None:
    """Lists every organization: slug, name, since when."""
    for row in _run(_connected(organizations.list_all)):
        click.echo(f"{row['slug']:30}  {row['name']:40}  {row['created_at']}")


@cli.group("keys")
def key_commands() -> None:
    """API keys."""


@key_commands.command("create")
@click.option("--organization", required=True, help="Slug of the organization that the key belongs to.")
@click.option("--role", required=True, type=click.Choice(ROLES), help="What the key may do.")
@click.option("--name", default="made on the command line", show_default=True, help="What people call the key.")
@click.option("--project", help="Binds the key to one project.")
@click.option("--expires-in-days", type=click.IntRange(1, 3650), help="By default it does not expire.")
def create_key(organization: str, role: Role, name: str, project: str | None, expires_in_days: int | None) -> None:
    """Makes a key and prints it, alone, on stdout. It is shown this once."""
    expires_at = datetime.now(UTC) + timedelta(days=expires_in_days) if expires_in_days else None
    made = _run(_connected(lambda c: administer.create_key(c, organization, name, role, project, expires_at)))
    click.echo(f"made {made.key_id} ({role}) for {organization}; it is not shown again", err=True)
    click.echo(made.key)


@key_commands.command("list")
@click.option("--organization", required=True, help="Slug of the organization.")
def list_keys(organization: str) -> None:
    """Lists the keys of an organization, newest first; never the secrets."""

    async def find(connection: Connection) -> list[Row]:
        return await keys.list_keys(connection, await administer.find_organization(connection, organization))

    for row in _run(_connected(find)):
        fields = dict(row)
        click.echo("  ".join(f"{name}={value}" for name, value in fields.items() if value is not None))


@key_commands.command("revoke")
@click.argument("key_id")
@click.option("--organization", required=True, help="Slug of the organization.")
def revoke_key(key_id: str, organization: str) -> None:
    """Ends the key KEY_ID; every process refuses it within five seconds."""
    _run(_connected(lambda connection: administer.revoke_key(connection, organization, key_id)))
    click.echo(f"revoked {key_id}", err=True)


@cli.group("audit")
def audit_commands() -> None:
    """The audit trail: who changed what, over HTTP and on the command line."""


@audit_commands.command("list")
@click.option("--organization", required=True, help="Slug of the organization.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 10_000), help="So many at most.")
def list_audit(organization: str, limit: int) -> None:
    """Lists the last changes, newest first: when, who, what, what was changed, the request's id."""

    async def find(connection: Connection) -> list[Row]:
        org_id = await administer.find_organization(connection, organization)
        return await audit.list_newest(connection, org_id, limit)

    for row in _run(_connected(find)):
        click.echo("  ".join(str(value or "-") for value in row.values()))


def _connected(work: Callable[[Connection], Awaitable[T]]) -> Callable[[Settings], Awaitable[T]]:
    async def run(settings: Settings) -> T:
        async with database_pool(settings, "results_worker") as pool, pool.acquire() as connection:
            return await work(connection)

    return run


def _run(work: Callable[[Settings], Awaitable[T]]) -> T:
    async def run() -> T:
        async with outages_named():
            return await work(Settings())

    return asyncio.run(run())


def _report_migrations(what: str, found: list[migrations.Migration]) -> None:
    for migration in found:
        click.echo(f"{what} {migration.version:04} {migration.name}")
    click.echo(f"{len(found)} migrations {what}", err=True)


def main() -> Any:
    """Runs the command; our own errors become one line that says what to do."""
    try:
        cli.main(prog_name="zof-results")
    except ServiceError as error:
        raise SystemExit(f"Error: {error}") from error
    except ValidationError as error:
        faults = "; ".join(f"RESULTS_{str(fault['loc'][0]).upper()}: {fault['msg']}" for fault in error.errors())
        raise SystemExit(f"Error in the settings: {faults}") from error
