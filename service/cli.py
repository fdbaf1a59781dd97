"""The `zof-results` command: thin subcommands over the use cases; each process is assembled here."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

import click

from service import log
from service.client import commands as of_users
from service.commands import CONTEXT, Checked, run_command
from service.contracts.organizations import Slug
from service.contracts.queries import Name
from service.domain.keys import KEY_ROLES, KeyRole
from service.resources import check_database, database_connection, database_errors_explained, database_url
from service.settings import Settings, read_settings
from service.store import audit, organizations
from service.store.postgres import migrations
from service.store.postgres.database import Connection, Row
from service.usecases.administration import administer, keys

T = TypeVar("T")

_CONSUMERS: Final = (sys.executable, "-m", "consumers")
_PASSED_ON: Final = {"ignore_unknown_options": True, "help_option_names": []}
_SLUG: Final = Checked(Slug, "SLUG")
_WORDS: Final = Checked(Name, "TEXT")

_organization_option = click.option(
    "--organization", type=_SLUG, required=True, help="The organization, by the name that events carry."
)


@click.group(context_settings=CONTEXT)
@click.version_option(package_name="zof-results")
def cli() -> None:
    """Results API: keeps the outcome of every validation run and answers questions about it.

    Those who operate it set RESULTS_DATABASE_URL, RESULTS_AMQP_URL and others, which the README lists. Those who use it
    with `report`, `gate`, `export` and `tail` set RESULTS_URL and RESULTS_API_KEY.
    """


for command in (of_users.export, of_users.gate, of_users.report, of_users.tail):
    cli.add_command(command)


@cli.command()
@click.option(
    "--processes", default=1, show_default=True, type=click.IntRange(1, 64), metavar="N",
    help="So many serve on the one port.",
)  # fmt: skip
def api(processes: int) -> None:
    """Serves the Results API over HTTP until SIGTERM or Ctrl-C.

    Of several processes, one that dies is started again. Each has its own RESULTS_DATABASE_POOL_SIZE connections
    and counts rate limits by itself unless RESULTS_RATE_LIMIT_URL is set. Any of them answers /metrics for all.
    """
    from service.api.server import main as serve

    settings = read_settings()
    log.set_up(settings.log_level)
    asyncio.run(check_database(settings, "results_api"))
    serve.run(settings, processes)


@cli.command(context_settings=_PASSED_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def consume(arguments: tuple[str, ...]) -> None:
    """Takes messages into the store until SIGTERM or Ctrl-C."""
    os.execv(_CONSUMERS[0], [*_CONSUMERS, *arguments])  # noqa: S606 - our own module, no shell


@cli.command("dead-letters", context_settings=_PASSED_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def dead_letters(arguments: tuple[str, ...]) -> None:
    """What could not be taken, with the reason."""
    os.execv(_CONSUMERS[0], [*_CONSUMERS, "dead-letters", *arguments])  # noqa: S606 - our own module, no shell


@cli.command()
@click.option(
    "--without-rabbitmq", is_flag=True, help="Use the queue embedded in the database, as where none is installed."
)
def dev(without_rabbitmq: bool) -> None:
    """Runs the whole product on this machine until Ctrl-C.

    That is PostgreSQL, RabbitMQ, the API and the consumers, with first data. It says what to try when it is ready.
    """
    from service.dev import stack

    stack.run(read_settings(), with_rabbitmq=not without_rabbitmq)


@cli.group()
def schema() -> None:
    """The database schema: apply, status."""


@schema.command("apply")
def apply_schema() -> None:
    """Brings the database to the current schema.

    Does nothing where it is there already. The user in RESULTS_DATABASE_URL must be able to create roles.
    """
    _report_migrations("applied", _run(_at_database(migrations.apply)))


@schema.command("status")
def schema_status() -> None:
    """Says what `schema apply` would do.

    Exit code 1 where it would do something.
    """
    missing = _run(_at_database(migrations.pending))
    _report_migrations("missing", missing)
    raise SystemExit(1 if missing else 0)


@cli.group("organizations")
def organization_commands() -> None:
    """The tenants: create, list."""


@organization_commands.command("create")
@click.argument("slug", type=_SLUG)
@click.option("--name", type=_WORDS, help="What people call it, by default the slug.")
def create_organization(slug: str, name: str | None) -> None:
    """Makes the organization SLUG, the name that events carry.

    SLUG has 1 to 63 lower-case letters, digits and dashes.
    """
    _run(_connected(lambda connection: administer.create_organization(connection, slug, name or slug)))
    click.echo(f"made organization {slug}", err=True)


@organization_commands.command("list")
def list_organizations() -> None:
    """Lists every organization: slug, name, since when."""
    for row in _run(_connected(organizations.list_all)):
        click.echo(f"{row['slug']:30}  {row['name']:40}  {row['created_at']}")


@cli.group("keys")
def key_commands() -> None:
    """API keys: create, list, revoke."""


@key_commands.command("create")
@_organization_option
@click.option("--role", required=True, type=click.Choice(KEY_ROLES), help="What the key may do.")
@click.option(
    "--name", default="made on the command line", show_default=True, type=_WORDS, help="What people call the key."
)
@click.option("--project", type=_WORDS, help="Binds the key to one project.")
@click.option(
    "--expires-in-days", type=click.IntRange(1, 3650), metavar="DAYS",
    help="By default it does not expire.",
)  # fmt: skip
def create_key(organization: str, role: KeyRole, name: str, project: str | None, expires_in_days: int | None) -> None:
    """Makes a key and prints it, alone, on stdout.

    It is shown this once. A viewer reads; an engineer also exports and sends reports; an admin may do everything.
    """
    expires_at = datetime.now(UTC) + timedelta(days=expires_in_days) if expires_in_days else None
    made = _run(_connected(lambda c: administer.create_key(c, organization, name, role, project, expires_at)))
    click.echo(f"made {made.key_id} ({role}) for {organization}; it is not shown again", err=True)
    click.echo(made.key)


@key_commands.command("list")
@_organization_option
def list_keys(organization: str) -> None:
    """Lists the keys of an organization, newest first.

    The secrets are not among what is shown: nobody can read them again.
    """

    async def find(connection: Connection) -> list[Row]:
        return await keys.list_keys(connection, await administer.find_organization(connection, organization))

    for row in _run(_connected(find)):
        fields = dict(row)
        click.echo("  ".join(f"{name}={value}" for name, value in fields.items() if value is not None))


@key_commands.command("revoke")
@click.argument("key_id")
@_organization_option
def revoke_key(key_id: str, organization: str) -> None:
    """Ends the key KEY_ID, key_….

    Every process refuses it within five seconds.
    """
    _run(_connected(lambda connection: administer.revoke_key(connection, organization, key_id)))
    click.echo(f"revoked {key_id}", err=True)


@cli.group("audit")
def audit_commands() -> None:
    """The audit trail: who changed what.

    Changes over HTTP and on the command line are in it.
    """


@audit_commands.command("list")
@_organization_option
@click.option(
    "--limit", default=100, show_default=True, type=click.IntRange(1, 10_000), metavar="N",
    help="So many at most.",
)  # fmt: skip
def list_audit(organization: str, limit: int) -> None:
    """Lists the last changes, newest first.

    Each with when, who, what, what was changed, and the id of the request.
    """

    async def find(connection: Connection) -> list[Row]:
        org_id = await administer.find_organization(connection, organization)
        return await audit.list_newest(connection, org_id, limit)

    for row in _run(_connected(find)):
        click.echo("  ".join(str(value or "-") for value in row.values()))


def _connected(work: Callable[[Connection], Awaitable[T]]) -> Callable[[Settings], Awaitable[T]]:
    async def run(settings: Settings) -> T:
        async with database_connection(settings, "results_worker") as connection:
            return await work(connection)

    return run


def _at_database(work: Callable[[str], Awaitable[T]]) -> Callable[[Settings], Awaitable[T]]:
    async def run(settings: Settings) -> T:
        async with database_errors_explained():
            return await work(database_url(settings))

    return run


def _run(work: Callable[[Settings], Awaitable[T]]) -> T:
    async def run() -> T:
        return await work(read_settings())

    return asyncio.run(run())


def _report_migrations(what: str, found: list[migrations.Migration]) -> None:
    for migration in found:
        click.echo(f"{what} {migration.version:04} {migration.name}")
    click.echo(f"migrations {what}: {len(found)}", err=True)


def main() -> None:
    """Runs the command."""
    run_command(cli, "zof-results")
