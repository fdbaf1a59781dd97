"""The commands `projects`."""

import sys
from typing import Final

import click

from service.client.arguments import BRANCH, PATH_ID, POLICY_EXAMPLE, check_policy
from service.client.commands.requests import (
    Requests,
    Table,
    add_list,
    add_show,
    examples,
    request_options,
    resource_path,
    set_fields,
    to_params,
)
from service.client.terminal import print_message
from service.command_line import CheckedText, escape_line
from service.domain.code_links import check_code_url_pattern

_TABLE: Final = Table(
    "projects", {
        "PROJECT": "project_id", "DEFAULT BRANCH": "default_branch", "LAST RUN": "last_run_at",
    },
)  # fmt: skip
_CODE_URL: Final = CheckedText(check_code_url_pattern, "URL")
_NO_POLICY: Final = "none"
_project: Final = click.argument("project_id", metavar="PROJECT", type=PATH_ID)


@click.group()
def projects() -> None:
    """List, change, and delete projects.

    A project exists as soon as one of its runs is stored.
    """


add_list(projects, _TABLE, "List projects in the order of their IDs.", "projects list")
add_show(projects, _project, "Show one project.", "projects show shop")


@projects.command("set", epilog=examples("projects set shop --default-branch trunk"))
@_project
@request_options
@click.option("--default-branch", type=BRANCH, help="Branch with which runs are compared if they state no base branch.")
@click.option(
    "--code-url", "code_url_pattern", type=_CODE_URL,
    help="URL of a line of code, with {commit}, {file}, and {line}, for repositories that the service doesn't know.",
)  # fmt: skip
@click.option(
    "--untrusted-uploads/--no-untrusted-uploads", default=None,
    help="Allow forks to upload untrusted runs with a key of the role public.",
)  # fmt: skip
@click.option(
    "--auto-quarantine", type=CheckedText(lambda text: text if text == _NO_POLICY else check_policy(text), "POLICY"),
    help=f"Quarantine flaky cases automatically, for example {POLICY_EXAMPLE}, or {_NO_POLICY}.",
)  # fmt: skip
def set_project(requests: Requests, project_id: str, auto_quarantine: str | None, **options: str | bool | None) -> None:
    """Change the given fields of a project.

    Needs the permission projects:manage (role admin).
    """
    changes = set_fields(**options)
    if auto_quarantine is not None:
        from service.quarantines.model import QuarantinePolicy  # its rules are slow to import

        policy = None if auto_quarantine == _NO_POLICY else QuarantinePolicy.parse(auto_quarantine)._asdict()
        changes["auto_quarantine"] = policy
    if not changes:
        options_text = "--default-branch, --code-url, --untrusted-uploads, or --auto-quarantine"
        raise click.UsageError(f"at least one option is required: {options_text}")
    requests.send("PATCH", resource_path("projects", project_id), changes)


@projects.command("delete", epilog=examples("projects delete shpo --confirm shpo"))
@_project
@request_options
@click.option("--confirm", "repeated", metavar="PROJECT", help="The name of the project again. A terminal asks for it.")
def delete_project(requests: Requests, project_id: str, repeated: str | None) -> None:
    """Delete a project with its runs, cases, and quarantines.

    The server deletes them in the background. Decisions and audit entries remain. Needs the permission
    projects:manage (role admin).
    """
    confirmed = _confirm(project_id) if repeated is None else repeated
    if confirmed != project_id:
        raise click.UsageError(f"--confirm: must be {project_id}, the name of the project")
    requests.send("DELETE", resource_path("projects", project_id), params=to_params(confirm=confirmed))
    print_message(f"the project {project_id} is being deleted")


def _confirm(project_id: str) -> str:
    """Return the name that the user enters. Raises UsageError if stdin isn't a terminal."""
    if not _is_terminal():
        raise click.UsageError("--confirm: is required, because stdin isn't a terminal")
    question = f"Delete the project {project_id} with all runs? Enter its name to confirm"
    entered: str = click.prompt(escape_line(question), err=True)
    return entered


def _is_terminal() -> bool:
    return sys.stdin.isatty()
