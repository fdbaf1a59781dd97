"""The command `retention`."""

import click

from service.administration.running import run
from service.commands import print_line
from service.resources import database_connection, database_errors_explained, database_pool, database_url, open_storage
from service.settings import Settings
from service.usecases.retention.apply_retention import RemovedMonth, apply_retention
from service.usecases.retention.count_expired import ExpiredSize, count_expired


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
