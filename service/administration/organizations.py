"""The commands about organizations: `organizations`, `audit`, and `retention`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from service.administration.running import (
    EMAIL,
    NAME,
    PERSON,
    SLUG_ARGUMENT,
    organization_option,
    run,
    run_with_connection,
)
from service.command_line import IntegerRange, print_line
from service.database.database import Connection, Row, as_owner
from service.database.engines import ENGINES
from service.mutations import store as mutations_store
from service.organizations import operations as organizations_operations
from service.organizations import store as organizations_store
from service.processes import database_connection, database_errors_explained, database_pool, database_url, open_storage
from service.retention.delete_organization import OrganizationDeletion
from service.retention.erasure import ErasedPerson, erase_author, erase_person, find_people
from service.retention.expiry import ExpiredSize, RemovedMonth, apply_retention, count_expired
from service.retention.export_organization import OrganizationExport
from service.settings import Settings


@click.group("organizations")
def organization_commands() -> None:
    """Create, list, export, and delete organizations."""


@organization_commands.command("create")
@click.argument("slug", type=SLUG_ARGUMENT)
@click.option("--name", type=NAME, help="Display name.  [default: the slug]")
def create_organization(slug: str, name: str | None) -> None:
    """Create the organization SLUG.

    Events name their organization by this slug: 1 to 63 lowercase letters, digits, and hyphens.
    """
    run_with_connection(organizations_operations.create_organization, slug, name or slug)
    print_line(f"created organization {slug}", err=True)


@organization_commands.command("list")
def list_organizations() -> None:
    """List all organizations with slug, name, and creation time."""
    for row in run_with_connection(organizations_store.list_all):
        print_line(f"{row['slug']:30}  {row['name']:40}  {row['created_at']}")


@organization_commands.command("delete")
@click.argument("slug", type=SLUG_ARGUMENT)
@click.option("--confirm", type=SLUG_ARGUMENT, required=True, help="The slug again.")
def delete_organization_command(slug: str, confirm: str) -> None:
    """Delete the organization SLUG with all of its data.

    Deleted data and files can't be restored. The keys stop working within five seconds. If the command is interrupted,
    run it again.
    """
    if confirm != slug:
        raise click.UsageError("--confirm must be the same as SLUG")
    run(lambda settings: _delete_organization(settings, slug))
    print_line(f"deleted organization {slug}", err=True)


async def _delete_organization(settings: Settings, slug: str) -> None:
    async with (
        database_connection(settings, "results_worker") as worker,
        as_owner(database_url(settings), ENGINES[settings.database_engine]) as owner,
    ):
        await OrganizationDeletion(worker, owner, open_storage(settings)).run(slug)


@organization_commands.command("erase-author")
@click.argument("slug", type=SLUG_ARGUMENT)
@click.option("--author", type=NAME, required=True, help="The name, exactly as runs state it.")
def erase_author_command(slug: str, author: str) -> None:
    """Erase the name of an author from the organization SLUG.

    Runs, uploads, and published events keep everything else. If the command is interrupted, run it again.
    """
    erased = run_with_connection(erase_author, slug, author)
    print_line(f"erased the author in {erased.runs} runs, {erased.events} events, {erased.uploads} uploads", err=True)


@organization_commands.command("erase-person")
@click.argument("slug", type=SLUG_ARGUMENT)
@click.option("--email", type=EMAIL, help="The email of the person.")
@click.option("--person", "person_ids", multiple=True, type=PERSON, help="The ID of the person (per_…).")
def erase_person_command(slug: str, email: str | None, person_ids: tuple[str, ...]) -> None:
    """Erase a person from the organization SLUG.

    Erase the name, the email, and the identity at the issuer, and remove the members of the person. The audit trail,
    quarantines, and waivers keep the ID. If the command is interrupted, run it again with the IDs that it printed.
    """
    if (email is None) == (not person_ids):
        raise click.UsageError("state either --email or --person")

    async def erase(connection: Connection) -> ErasedPerson:
        found = person_ids if email is None else await find_people(connection, slug, email)
        print_line("erasing " + (" ".join(f"--person {person_id}" for person_id in found) or "members"), err=True)
        return await erase_person(connection, slug, found, () if email is None else (email,))

    erased = run_with_connection(erase)
    print_line(f"erased {erased.people} people, {erased.members} members, {erased.events} names in events", err=True)


@organization_commands.command("export")
@click.argument("slug", type=SLUG_ARGUMENT)
@click.option("-o", "--output", "folder", type=click.Path(path_type=Path), required=True, help="A new or empty folder.")
def export_organization_command(slug: str, folder: Path) -> None:
    """Write the data of the organization SLUG to a folder.

    The folder contains all rows and files, without secrets. It appears when the export is complete.
    """
    run(lambda settings: _export_organization(settings, slug, folder))
    print_line(f"exported organization {slug} to {folder}", err=True)


async def _export_organization(settings: Settings, slug: str, folder: Path) -> None:
    async with database_connection(settings, "results_worker") as worker:
        await OrganizationExport(worker, open_storage(settings), partial(print_line, err=True)).run(slug, folder)


@click.group("audit")
def audit_commands() -> None:
    """Read the audit trail.

    The audit trail contains the changes over HTTP and on the command line.
    """


@audit_commands.command("list")
@organization_option
@click.option(
    "--limit", default=100, show_default=True, type=IntegerRange(1, 10_000), metavar="N",
    help="Maximum number of changes.",
)  # fmt: skip
def list_audit(organization: str, limit: int) -> None:
    """List the latest changes, newest first.

    Print the time, actor, action, object, and request ID of each change, the name of the actor (a key, the trusted
    publisher of a CI job, or a person), and the CI job.
    """

    async def find(connection: Connection) -> Sequence[Row]:
        org_id = await organizations_operations.find_organization(connection, organization)
        return await mutations_store.list_newest(connection, org_id, limit)

    for row in run_with_connection(find):
        print_line("  ".join(str(value or "-") for value in row.values()))


@click.command()
@click.option("--dry-run", is_flag=True, help="Print the size of all expired data, and delete nothing.")
def retention(*, dry_run: bool) -> None:
    """Delete expired data once, or count it.

    Perform one round of `consume upkeep`: delete the oldest month of artifacts, of results, and of runs whose grace
    period is over. With --dry-run, print the class, organization, project, rows, and bytes of all expired data,
    including months in the grace period.
    """
    if dry_run:
        sizes = run(_count_expired)
        for size in sizes:
            print_line(f"{size.data:9}  {size.organization}  {size.project_id}  rows={size.rows}  bytes={size.bytes}")
        if not sizes:
            print_line("no data is expired", err=True)
        return
    removed = run(_apply_retention)
    for each in removed:
        print_line(f"removed {each.data} of {each.month:%Y-%m}", err=True)
    if not removed:
        print_line("no month is expired and past its grace period", err=True)


async def _count_expired(settings: Settings) -> list[ExpiredSize]:
    async with database_connection(settings, "results_worker") as connection:
        return await count_expired(connection, settings.retention_policy)


async def _apply_retention(settings: Settings) -> list[RemovedMonth]:
    async with database_errors_explained(), database_pool(settings, "results_worker", 1) as pool:
        return await apply_retention(pool, open_storage(settings), database_url(settings), settings.retention_policy)
