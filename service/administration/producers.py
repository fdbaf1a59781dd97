"""The command `producers`."""

import click

from service.administration.running import NAME, organization_option, run, run_with_connection
from service.command_line import print_line
from service.identity.producers.operations import add_producer, list_producers, remove_producer
from service.processes import database_connection
from service.settings import Settings

_UNCHECKED = (
    "{user} has no registration left. RESULTS_PRODUCER_IDENTITY is optional, so its events are accepted for every "
    "organization. To prevent this, set RESULTS_PRODUCER_IDENTITY=required, or delete the RabbitMQ user."
)


@click.group("producers")
def producer_commands() -> None:
    """Register RabbitMQ users that send events.

    RabbitMQ verifies the property user_id of a message. An event of a registered user is accepted only for its
    organizations and projects; another one becomes a dead letter with the reason producer_not_allowed. With
    RESULTS_PRODUCER_IDENTITY=required, events of all other users become dead letters too.
    """


@producer_commands.command("add")
@click.argument("user", type=NAME, metavar="USER")
@organization_option
@click.option("--project", type=NAME, help="The only project whose events are accepted.  [default: all projects]")
def add_producer_command(user: str, organization: str, project: str | None) -> None:
    """Register a RabbitMQ user for an organization.

    With --project, only events of that project are accepted. A user can be registered for several organizations and
    projects. The next events are checked with the registration.
    """
    run_with_connection(add_producer, organization, user, project)
    print_line(f"registered {user} for {project or 'all projects'} of {organization}", err=True)


@producer_commands.command("list")
@organization_option
def list_producers_command(organization: str) -> None:
    """List the registered RabbitMQ users of an organization.

    Print the user, the project or * for all projects, and the time of each registration.
    """
    for row in run_with_connection(list_producers, organization):
        print_line(f"{row['user_id']:30}  {row['project_id'] or '*':30}  {row['created_at']}")


@producer_commands.command("remove")
@click.argument("user", type=NAME, metavar="USER")
@organization_option
@click.option("--project", type=NAME, help="Remove only the registration for this project.")
def remove_producer_command(user: str, organization: str, project: str | None) -> None:
    """Remove a RabbitMQ user from an organization.

    With --project, the other registrations stay. Batches that the consumers have already begun are still stored, which
    takes a few seconds.
    """

    async def remove(settings: Settings) -> bool:
        async with database_connection(settings, "results_worker") as connection:
            is_checked = await remove_producer(connection, organization, user, project)
        return is_checked or settings.producer_identity == "required"

    is_checked = run(remove)
    print_line(f"removed {user} from {project or 'all projects'} of {organization}", err=True)
    if not is_checked:
        print_line(_UNCHECKED.format(user=user), err=True)
