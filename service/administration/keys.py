"""The command `keys`."""

from datetime import UTC, datetime, timedelta

import click

from service.administration.running import NAME, organization_option, print_object, run_with_connection
from service.command_line import IntegerRange, NameChoice, print_line
from service.identity.keys import operations as keys_operations
from service.identity.keys.model import KEY_ROLES, KeyRole


@click.group("keys")
def key_commands() -> None:
    """Create, list, and revoke API keys."""


@key_commands.command("create")
@organization_option
@click.option("--role", required=True, type=NameChoice(KEY_ROLES), help="Role of the key: a named set of permissions.")
@click.option(
    "--name", default="created on the command line", show_default=True, type=NAME, help="Display name of the key."
)
@click.option("--project", type=NAME, help="Bind the key to one project. Required for the role public.")
@click.option(
    "--expires-in-days", type=IntegerRange(1, 3650), metavar="DAYS",
    help="Lifetime of the key.  [default: unlimited]",
)  # fmt: skip
def create_key(organization: str, role: KeyRole, name: str, project: str | None, expires_in_days: int | None) -> None:
    """Create an API key and print only the key on stdout.

    The key is shown only once. A viewer reads results; an uploader, such as a CI job, also uploads reports; an
    engineer also exports results and quarantines cases; an admin has all permissions. A public key isn't secret: with
    it, forks can only upload untrusted runs of one project, if the project allows untrusted uploads.
    """
    expires_at = datetime.now(UTC) + timedelta(days=expires_in_days) if expires_in_days else None
    created = run_with_connection(keys_operations.create_as_operator, organization, name, role, project, expires_at)
    print_line(f"created {created.key_id} ({role}) for {organization}; the key is not shown again", err=True)
    print_line(created.key)


@key_commands.command("list")
@organization_option
def list_keys(organization: str) -> None:
    """List the API keys of an organization, newest first.

    Print the ID, which `keys revoke` accepts, and the other fields of each key. The secrets aren't stored, so they
    can't be shown again.
    """
    for key in run_with_connection(keys_operations.list_as_operator, organization):
        print_object(key)


@key_commands.command("revoke")
@click.argument("key_id")
@organization_option
def revoke_key(key_id: str, organization: str) -> None:
    """Revoke the API key KEY_ID (key_…).

    Every process rejects the key within five seconds.
    """
    run_with_connection(keys_operations.revoke_as_operator, organization, key_id)
    print_line(f"revoked {key_id}", err=True)
