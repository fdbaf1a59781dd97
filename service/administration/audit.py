"""The command `audit`."""

from collections.abc import Sequence

import click

from service.administration.arguments import organization_option
from service.administration.running import run, with_connection
from service.commands import IntegerRange, print_line
from service.store import audit
from service.store.postgres.database import Connection, Row
from service.usecases.administration import administer


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
        org_id = await administer.find_organization(connection, organization)
        return await audit.list_newest(connection, org_id, limit)

    for row in run(with_connection(find)):
        print_line("  ".join(str(value or "-") for value in row.values()))
