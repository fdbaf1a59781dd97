"""The command `members`."""

from typing import get_args

import click

from service.administration.running import EMAIL, GROUP, NAME, organization_option, print_object, run_with_connection
from service.command_line import NameChoice, print_line
from service.identity.members import operations as members_operations
from service.identity.members.model import MemberRole, NewMember


@click.group("members")
def member_commands() -> None:
    """Manage who can sign in to the console.

    A member is a person with a verified email, or a group, as the identity provider states them.
    """


@member_commands.command("add")
@organization_option
@click.option("--email", type=EMAIL, help="Email of the person. The first person with this verified email signs in.")
@click.option("--group", type=GROUP, help="Group whose people can sign in.")
@click.option("--role", required=True, type=NameChoice(get_args(MemberRole)), help="Role of the member.")
@click.option("--project", type=NAME, help="The only project of the member.  [default: all projects]")
def add_member_command(
    organization: str, email: str | None, group: str | None, role: MemberRole, project: str | None
) -> None:
    """Add a member, and print its ID on stdout.

    State either --email or --group. A viewer reads results; an uploader also uploads reports; an engineer also exports
    results and quarantines cases; an admin has all permissions.
    """
    if (email is None) == (group is None):
        raise click.UsageError("state either --email or --group")
    member = NewMember(email, group, role, project)
    member_id = run_with_connection(members_operations.add_as_operator, organization, member)
    print_line(f"added {member.describe()} ({role}) to {project or 'all projects'} of {organization}", err=True)
    print_line(member_id)


@member_commands.command("list")
@organization_option
def list_members_command(organization: str) -> None:
    """List the members of an organization, newest first.

    Print the ID, which `members remove` accepts, and the other fields of each member.
    """
    for member in run_with_connection(members_operations.list_as_operator, organization):
        print_object(member)


@member_commands.command("remove")
@click.argument("member_id")
@organization_option
def remove_member_command(member_id: str, organization: str) -> None:
    """Remove the member MEMBER_ID (mem_…).

    The sessions of the member end within five seconds. The name of a person stays in the audit trail;
    `organizations erase-person` erases it.
    """
    run_with_connection(members_operations.remove_as_operator, organization, member_id)
    print_line(f"removed {member_id}", err=True)
