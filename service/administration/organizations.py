"""The command `organizations`."""

from functools import partial
from pathlib import Path

import click

from service.administration.arguments import NAME, SLUG
from service.administration.running import run, with_connection
from service.commands import print_line
from service.resources import database_connection, database_url, open_storage
from service.settings import Settings
from service.store import organizations
from service.store.postgres.database import as_owner
from service.store.postgres.engines import ENGINES
from service.usecases.administration import administer
from service.usecases.administration.delete_organization import OrganizationDeletion
from service.usecases.administration.erase_author import erase_author
from service.usecases.administration.export_organization import OrganizationExport


@click.group("organizations")
def organization_commands() -> None:
    """Create, list, export, and delete organizations."""


@organization_commands.command("create")
@click.argument("slug", type=SLUG)
@click.option("--name", type=NAME, help="Display name.  [default: the slug]")
def create_organization(slug: str, name: str | None) -> None:
    """Create the organization SLUG.

    Events name their organization by this slug: 1 to 63 lowercase letters, digits, and hyphens.
    """
    run(with_connection(lambda connection: administer.create_organization(connection, slug, name or slug)))
    print_line(f"created organization {slug}", err=True)


@organization_commands.command("list")
def list_organizations() -> None:
    """List all organizations with slug, name, and creation time."""
    for row in run(with_connection(organizations.list_all)):
        print_line(f"{row['slug']:30}  {row['name']:40}  {row['created_at']}")


@organization_commands.command("delete")
@click.argument("slug", type=SLUG)
@click.option("--confirm", type=SLUG, required=True, help="The slug again.")
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
@click.argument("slug", type=SLUG)
@click.option("--author", type=NAME, required=True, help="The name, exactly as runs state it.")
def erase_author_command(slug: str, author: str) -> None:
    """Erase the name of an author from the organization SLUG.

    Runs, uploads, and published events keep everything else. If the command is interrupted, run it again.
    """
    erased = run(with_connection(lambda connection: erase_author(connection, slug, author)))
    print_line(f"erased the author in {erased.runs} runs, {erased.events} events, {erased.uploads} uploads", err=True)


@organization_commands.command("export")
@click.argument("slug", type=SLUG)
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
