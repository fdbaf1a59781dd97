"""The command `publishers`."""

from collections.abc import Sequence
from typing import Final, get_args

import click

from service.administration.running import NAME, organization_option, print_object, run, run_with_connection
from service.command_line import CheckedText, NameChoice, print_line
from service.identity.publishers import operations as publishers_operations
from service.identity.publishers.contract import PublisherIn
from service.identity.publishers.model import DEFAULT_ROLE, ProviderName, PublisherRole
from service.processes import database_connection
from service.settings import Settings


def _check_claim(text: str) -> str:
    if "=" not in text:
        raise ValueError("must be NAME=VALUE, such as repository_id=1296269")
    return text


_CLAIM: Final = CheckedText(_check_claim, "NAME=VALUE")


@click.group("publishers")
def publisher_commands() -> None:
    """Manage trusted publishers.

    A trusted publisher lets the jobs of a CI repository upload reports without a stored secret: the service exchanges
    the ID token of a job for a key of one project, which is valid for 15 minutes.
    """


@publisher_commands.command("add")
@organization_option
@click.option("--project", type=NAME, required=True, help="Project of the keys.")
@click.option(
    "--provider",
    type=NameChoice(get_args(ProviderName)),
    required=True,
    help="CI system, or oidc for another issuer.",
)
@click.option(
    "--claim", "claims", type=_CLAIM, multiple=True, required=True,
    help="Claim that a token must have. Repeat the option for several claims.",
)  # fmt: skip
@click.option(
    "--role", type=NameChoice(get_args(PublisherRole)), default=DEFAULT_ROLE, show_default=True,
    help="Role of the keys.",
)  # fmt: skip
@click.option("--issuer", metavar="URL", help="Issuer of the tokens.  [default: that of the provider]")
@click.option("--name", type=NAME, help="Display name.  [default: the provider and the repository]")
def add_publisher_command(
    organization: str,
    project: str,
    provider: ProviderName,
    claims: Sequence[str],
    role: PublisherRole,
    issuer: str | None,
    name: str | None,
) -> None:
    """Add a trusted publisher, and print its ID on stdout.

    Required claims: repository_id and repository_owner_id for github, project_id and namespace_id for gitlab,
    organization_id and pipeline_id for buildkite, and oidc.circleci.com/project-id for circleci, which also needs
    --issuer. The guide on trusted publishers states where to find them.
    """
    values = dict(claim.split("=", 1) for claim in claims)
    body = PublisherIn(provider=provider, issuer=issuer, claims=values, role=role, name=name)

    async def add(settings: Settings) -> str:
        new = publishers_operations.new_publisher(body, project, settings.issuer_addresses)
        async with database_connection(settings, "results_worker") as connection:
            return await publishers_operations.add_as_operator(connection, organization, new)

    publisher_id = run(add)
    print_line(f"added a publisher ({role}) for {project} of {organization}", err=True)
    print_line(publisher_id)


@publisher_commands.command("list")
@organization_option
def list_publishers_command(organization: str) -> None:
    """List the trusted publishers of an organization.

    Print the ID, which the other commands accept, and the other fields of each publisher, newest first.
    """
    for row in run_with_connection(publishers_operations.list_as_operator, organization):
        claims = {f"claims.{name}": value for name, value in row["claims"].items()}
        print_object({**row, "claims": None, **claims}, "publisher_id")


@publisher_commands.command("disable")
@click.argument("publisher_id")
@organization_option
def disable_publisher_command(publisher_id: str, organization: str) -> None:
    """Disable the publisher PUBLISHER_ID (pub_…).

    Every process rejects the keys of its jobs within five seconds.
    """
    run_with_connection(publishers_operations.enable_as_operator, organization, publisher_id, enabled=False)
    print_line(f"disabled {publisher_id}", err=True)


@publisher_commands.command("enable")
@click.argument("publisher_id")
@organization_option
def enable_publisher_command(publisher_id: str, organization: str) -> None:
    """Enable the publisher PUBLISHER_ID (pub_…)."""
    run_with_connection(publishers_operations.enable_as_operator, organization, publisher_id, enabled=True)
    print_line(f"enabled {publisher_id}", err=True)


@publisher_commands.command("remove")
@click.argument("publisher_id")
@organization_option
def remove_publisher_command(publisher_id: str, organization: str) -> None:
    """Remove the publisher PUBLISHER_ID (pub_…).

    Every process rejects the keys of its jobs within five seconds.
    """
    run_with_connection(publishers_operations.remove_as_operator, organization, publisher_id)
    print_line(f"removed {publisher_id}", err=True)


@publisher_commands.command("exchanges")
@organization_option
@click.option("--publisher", "publisher_id", type=NAME, help="ID of the only publisher to list.")
def list_exchanges_command(organization: str, publisher_id: str | None) -> None:
    """List the newest exchanges of ID tokens.

    Print the time, the publisher or "-", the project, the job, and "accepted" or the reason of the refusal of each of
    the newest 100 exchanges of the organization, newest first. Only authentic tokens of a repository that a publisher
    names are listed.
    """
    found = run_with_connection(publishers_operations.list_exchanges_as_operator, organization, publisher_id)
    for exchange in found:
        values = exchange["at"], exchange["publisher_id"] or "-", exchange["project_id"] or "-", exchange["job"]
        refusal = exchange["refusal"]
        print_line("  ".join((*values, "accepted" if refusal is None else f"refused: {refusal}")))
