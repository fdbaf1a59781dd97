"""The command `schema`."""

from functools import partial

import click

from service.administration.running import run_with_database_url
from service.command_line import IntegerRange, print_line
from service.database import distribution, migrations


@click.group()
def schema() -> None:
    """Apply, check, or distribute the database schema."""


@schema.command("apply")
@click.option("--grant-to", "login", metavar="LOGIN", help="Let this login act as the database roles of the service.")
def apply_schema(login: str | None) -> None:
    """Apply the missing migrations to the database.

    Applied migrations are skipped. The user in RESULTS_DATABASE_URL must be able to create roles. The processes can use
    another login, which needs no privileges except those that --grant-to gives it.
    """
    _print_migrations("applied", run_with_database_url(partial(migrations.apply, on_locked=_print_locked)))
    if login:
        run_with_database_url(lambda url: migrations.grant_roles(url, login))
        print_line(f"granted the database roles to {login}", err=True)


@schema.command("distribute")
@click.option(
    "--shards", type=IntegerRange(1, 1024), metavar="N",
    help="Number of shards of each table: at least one per worker, and some more for later workers. Required for the"
    " first distribution. Later tables have the shards of the first ones.",
)  # fmt: skip
def distribute_schema(shards: int | None) -> None:
    """Distribute the tables over the workers of Citus.

    The rows of one organization are on one worker. Apply the schema first, and stop all processes. Existing rows move
    to the workers. Distributed tables are skipped, so an interrupted command can be run again. The user in
    RESULTS_DATABASE_URL must be a superuser of the coordinator. Then start the processes with
    RESULTS_DATABASE_ENGINE=citus.
    """
    distributed = run_with_database_url(lambda url: distribution.distribute(url, shards))
    for name in distributed.tables:
        print_line(f"distributed {name}")
    print_line(
        f"the tables are distributed over {distributed.shards} shards; set RESULTS_DATABASE_ENGINE=citus", err=True
    )


@schema.command("status")
def schema_status() -> None:
    """List the migrations that `schema apply` would apply.

    Exit with code 1 if there are any.
    """
    missing = run_with_database_url(migrations.pending)
    _print_migrations("missing", missing)
    raise SystemExit(1 if missing else 0)


def _print_migrations(state: str, found: list[migrations.Migration]) -> None:
    for migration in found:
        print_line(f"{state} {migration.version:04} {migration.name}")
    print_line(f"migrations {state}: {len(found)}", err=True)


def _print_locked(migration: migrations.Migration) -> None:
    print_line(f"migration {migration.version:04} waits for a table that another transaction locks", err=True)
