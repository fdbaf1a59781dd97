"""The `zof-results` command, which composes the API, the consumers, and the client."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from pydantic import TypeAdapter, ValidationError

from service import log
from service.client.commands import USER_COMMANDS
from service.commands import CONTEXT, CheckedText, print_warnings, run_command
from service.contracts.organizations import Slug
from service.contracts.queries import Name
from service.contracts.validation import describe_error, validation_errors
from service.domain.keys import KEY_ROLES, KeyRole
from service.mcp.command import mcp
from service.resources import (
    MissingSetting,
    database_connection,
    database_errors_explained,
    database_pool,
    database_url,
    open_secret_cipher,
    open_storage,
    wait_for_schema,
)
from service.settings import Settings, names_in_use, read_settings, unknown_variables
from service.stopping import Stopped, stop_on_signals
from service.store import audit, organizations
from service.store.postgres import migrations
from service.store.postgres.database import Connection, Row, as_owner
from service.usecases.administration import administer, keys
from service.usecases.administration.delete_organization import OrganizationDeletion
from service.usecases.administration.export_organization import OrganizationExport
from service.usecases.retention.apply_retention import RemovedMonth, apply_retention
from service.usecases.retention.count_expired import ExpiredSize, count_expired
from service.usecases.webhooks.encrypt_secrets import encrypt_secrets

T = TypeVar("T")

_CONSUMER_COMMANDS: Final = ("consume", "dead-letters")


def _checked(contract: Any, metavar: str) -> CheckedText:
    """Return the argument type of a text that a pydantic type validates."""
    adapter = TypeAdapter[str](contract)

    def check(text: str) -> str:
        try:
            return adapter.validate_python(text)
        except ValidationError as error:
            raise ValueError(describe_error(validation_errors(error)[0])) from None

    return CheckedText(check, metavar)


_SLUG: Final = _checked(Slug, "SLUG")
_NAME: Final = _checked(Name, "TEXT")

_organization_option = click.option("--organization", type=_SLUG, required=True, help="Slug of the organization.")


class _RootGroup(click.Group):
    """The root group, which imports the consumers only when one of their commands is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted((*super().list_commands(ctx), *_CONSUMER_COMMANDS))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _CONSUMER_COMMANDS:
            return super().get_command(ctx, cmd_name)
        from consumers.commands import consume, dead_letters

        return consume if cmd_name == "consume" else dead_letters


@click.group(cls=_RootGroup, context_settings=CONTEXT)
@click.version_option(package_name="zof-results")
def cli() -> None:
    """Store and query the results of validation runs.

    Operators set RESULTS_DATABASE_URL, RESULTS_AMQP_URL, and the other settings of docs/reference/settings.md. Users of
    `report`, `gate`, `comment`, `export`, `tail`, and `mcp` set RESULTS_URL and RESULTS_API_KEY.
    """


for command in (*USER_COMMANDS, mcp):
    cli.add_command(command)


@cli.command()
@click.option(
    "--processes", default=1, show_default=True, type=click.IntRange(1, 64), metavar="N",
    help="Number of processes that share the port.",
)  # fmt: skip
def api(processes: int) -> None:
    """Serve the Results API over HTTP until SIGTERM or Ctrl-C.

    If there are several processes, one that crashes is restarted. Each process has its own pool of
    RESULTS_DATABASE_POOL_SIZE connections and counts rate limits separately unless RESULTS_RATE_LIMIT_URL is set. Each
    process returns the /metrics of all.
    """
    from service.api.server import main as serve
    from service.app import make_app

    settings = read_settings()
    log.set_up(settings.log_level)
    log.log_unknown_settings(unknown_variables(names_in_use()))
    try:
        asyncio.run(_wait_for_schema(settings))
    except Stopped:
        return
    serve.run(settings, make_app, processes)


async def _wait_for_schema(settings: Settings) -> None:
    await wait_for_schema(settings, "results_api", stop_on_signals())


@cli.command()
@click.option("--without-rabbitmq", is_flag=True, help="Use the embedded queue even if RabbitMQ is installed.")
def dev(without_rabbitmq: bool) -> None:
    """Run the complete stack on this machine until Ctrl-C.

    The stack consists of PostgreSQL, RabbitMQ, the API, and the consumers. It has demo data. When it is ready, the
    command prints example commands.
    """
    from service.dev import stack

    print_warnings(unknown_variables(names_in_use()))
    stack.run(read_settings(), with_rabbitmq=not without_rabbitmq)


@cli.group()
def schema() -> None:
    """Apply or check the database schema."""


@schema.command("apply")
@click.option("--grant-to", "login", metavar="LOGIN", help="Let this login act as the database roles of the service.")
def apply_schema(login: str | None) -> None:
    """Apply the missing migrations to the database.

    Applied migrations are skipped. The user in RESULTS_DATABASE_URL must be able to create roles. The processes can use
    another login, which needs no privileges except those that --grant-to gives it.
    """
    _print_migrations("applied", _run(_with_database_url(migrations.apply)))
    if login:
        _run(_with_database_url(lambda url: migrations.grant_roles(url, login)))
        click.echo(f"granted the database roles to {login}", err=True)


@schema.command("status")
def schema_status() -> None:
    """List the migrations that `schema apply` would apply.

    Exit with code 1 if there are any.
    """
    missing = _run(_with_database_url(migrations.pending))
    _print_migrations("missing", missing)
    raise SystemExit(1 if missing else 0)


@cli.command()
@click.option("--dry-run", is_flag=True, help="Print the size of all expired data, and delete nothing.")
def retention(*, dry_run: bool) -> None:
    """Delete expired data once, or count it.

    Perform one round of `consume upkeep`: delete the oldest month of artifacts, of results, and of runs whose grace
    period is over. With --dry-run, print the class, organization, project, rows, and bytes of all expired data,
    including months in the grace period.
    """
    if dry_run:
        for size in _run(_count_expired):
            click.echo(f"{size.data:9}  {size.organization}  {size.project_id}  rows={size.rows}  bytes={size.bytes}")
        return
    removed = _run(_apply_retention)
    for each in removed:
        click.echo(f"removed {each.data} of {each.month:%Y-%m}", err=True)
    if not removed:
        click.echo("no month is expired and past its grace period", err=True)


async def _count_expired(settings: Settings) -> list[ExpiredSize]:
    async with database_connection(settings, "results_worker") as connection:
        return await count_expired(connection, settings.retention_policy)


async def _apply_retention(settings: Settings) -> list[RemovedMonth]:
    log.set_up(settings.log_level)
    async with database_errors_explained(), database_pool(settings, "results_worker", 1) as pool:
        return await apply_retention(pool, open_storage(settings), database_url(settings), settings.retention_policy)


@cli.group("organizations")
def organization_commands() -> None:
    """Create, list, export, and delete organizations."""


@organization_commands.command("create")
@click.argument("slug", type=_SLUG)
@click.option("--name", type=_NAME, help="Display name.  [default: the slug]")
def create_organization(slug: str, name: str | None) -> None:
    """Create the organization SLUG.

    Events name their organization by this slug: 1 to 63 lowercase letters, digits, and hyphens.
    """
    _run(_with_connection(lambda connection: administer.create_organization(connection, slug, name or slug)))
    click.echo(f"created organization {slug}", err=True)


@organization_commands.command("list")
def list_organizations() -> None:
    """List all organizations with slug, name, and creation time."""
    for row in _run(_with_connection(organizations.list_all)):
        click.echo(f"{row['slug']:30}  {row['name']:40}  {row['created_at']}")


@organization_commands.command("delete")
@click.argument("slug", type=_SLUG)
@click.option("--confirm", type=_SLUG, required=True, help="The slug again.")
def delete_organization_command(slug: str, confirm: str) -> None:
    """Delete the organization SLUG with all of its data.

    Deleted data and files can't be restored. The keys stop working within five seconds. If the command is interrupted,
    run it again.
    """
    if confirm != slug:
        raise click.UsageError("--confirm must be the same as SLUG")
    _run(lambda settings: _delete_organization(settings, slug))
    click.echo(f"deleted organization {slug}", err=True)


async def _delete_organization(settings: Settings, slug: str) -> None:
    async with (
        database_connection(settings, "results_worker") as worker,
        as_owner(database_url(settings)) as owner,
    ):
        await OrganizationDeletion(worker, owner, open_storage(settings)).run(slug)


@organization_commands.command("export")
@click.argument("slug", type=_SLUG)
@click.option("-o", "--output", "folder", type=click.Path(path_type=Path), required=True, help="A new or empty folder.")
def export_organization_command(slug: str, folder: Path) -> None:
    """Write the data of the organization SLUG to a folder.

    The folder contains all rows and files, without secrets. It appears when the export is complete.
    """
    _run(lambda settings: _export_organization(settings, slug, folder))
    click.echo(f"exported organization {slug} to {folder}", err=True)


async def _export_organization(settings: Settings, slug: str, folder: Path) -> None:
    async with database_connection(settings, "results_worker") as worker:
        await OrganizationExport(worker, open_storage(settings), partial(click.echo, err=True)).run(slug, folder)


@cli.group("keys")
def key_commands() -> None:
    """Create, list, and revoke API keys."""


@key_commands.command("create")
@_organization_option
@click.option(
    "--role", required=True, type=click.Choice(KEY_ROLES), help="Role of the key: a named set of permissions."
)
@click.option(
    "--name", default="created on the command line", show_default=True, type=_NAME, help="Display name of the key."
)
@click.option("--project", type=_NAME, help="Bind the key to one project.")
@click.option(
    "--expires-in-days", type=click.IntRange(1, 3650), metavar="DAYS",
    help="Lifetime of the key.  [default: unlimited]",
)  # fmt: skip
def create_key(organization: str, role: KeyRole, name: str, project: str | None, expires_in_days: int | None) -> None:
    """Create an API key and print only the key on stdout.

    The key is shown only once. A viewer reads results; an engineer also exports results and uploads reports; an admin
    has all permissions.
    """
    expires_at = datetime.now(UTC) + timedelta(days=expires_in_days) if expires_in_days else None
    created = _run(_with_connection(lambda c: administer.create_key(c, organization, name, role, project, expires_at)))
    click.echo(f"created {created.key_id} ({role}) for {organization}; the key is not shown again", err=True)
    click.echo(created.key)


@key_commands.command("list")
@_organization_option
def list_keys(organization: str) -> None:
    """List the API keys of an organization, newest first.

    The secrets aren't stored, so they can't be shown again.
    """

    async def find(connection: Connection) -> list[Row]:
        return await keys.list_keys(connection, await administer.find_organization(connection, organization))

    for row in _run(_with_connection(find)):
        fields = dict(row)
        click.echo("  ".join(f"{name}={value}" for name, value in fields.items() if value is not None))


@key_commands.command("revoke")
@click.argument("key_id")
@_organization_option
def revoke_key(key_id: str, organization: str) -> None:
    """Revoke the API key KEY_ID (key_…).

    Every process rejects the key within five seconds.
    """
    _run(_with_connection(lambda connection: administer.revoke_key(connection, organization, key_id)))
    click.echo(f"revoked {key_id}", err=True)


@cli.group("webhooks")
def webhook_commands() -> None:
    """Encrypt the secrets of webhooks."""


@webhook_commands.command("encrypt-secrets")
def encrypt_webhook_secrets() -> None:
    """Encrypt all stored secrets with the first key.

    The keys are in RESULTS_SECRET_KEYS or in the file RESULTS_SECRET_KEYS_FILE.

    To replace a key, put the new key after the old one in all processes, then before it, then run this command, and
    then remove the old key.
    """
    settings = read_settings()
    log.set_up(settings.log_level)
    cipher = open_secret_cipher(settings)
    if not cipher.key_ids:
        raise MissingSetting("RESULTS_SECRET_KEYS: is required")
    count = _run(_with_connection(lambda connection: encrypt_secrets(connection, cipher)))
    click.echo(f"encrypted the secrets of {count} webhooks with the key {cipher.key_ids[0]}", err=True)


@cli.group("audit")
def audit_commands() -> None:
    """Read the audit log.

    The log contains the changes over HTTP and on the command line.
    """


@audit_commands.command("list")
@_organization_option
@click.option(
    "--limit", default=100, show_default=True, type=click.IntRange(1, 10_000), metavar="N",
    help="Maximum number of changes.",
)  # fmt: skip
def list_audit(organization: str, limit: int) -> None:
    """List the latest changes, newest first.

    Print the time, actor, action, object, and request ID of each change.
    """

    async def find(connection: Connection) -> list[Row]:
        org_id = await administer.find_organization(connection, organization)
        return await audit.list_newest(connection, org_id, limit)

    for row in _run(_with_connection(find)):
        click.echo("  ".join(str(value or "-") for value in row.values()))


def _with_connection(work: Callable[[Connection], Awaitable[T]]) -> Callable[[Settings], Awaitable[T]]:
    async def run(settings: Settings) -> T:
        async with database_connection(settings, "results_worker") as connection:
            return await work(connection)

    return run


def _with_database_url(work: Callable[[str], Awaitable[T]]) -> Callable[[Settings], Awaitable[T]]:
    async def run(settings: Settings) -> T:
        async with database_errors_explained():
            return await work(database_url(settings))

    return run


def _run(work: Callable[[Settings], Awaitable[T]]) -> T:
    async def run() -> T:
        print_warnings(unknown_variables(names_in_use()))
        return await work(read_settings())

    return asyncio.run(run())


def _print_migrations(state: str, found: list[migrations.Migration]) -> None:
    for migration in found:
        click.echo(f"{state} {migration.version:04} {migration.name}")
    click.echo(f"migrations {state}: {len(found)}", err=True)


def main() -> None:
    """Run the command."""
    run_command(cli, "zof-results")
