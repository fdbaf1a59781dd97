"""The commands `quarantines`."""

from collections.abc import Callable
from typing import Any, Final

import click

from service.client.arguments import NAME, PATH_ID, TEXT, TIME, VARIANT, project_option
from service.client.commands.requests import (
    ApiObject,
    Requests,
    Table,
    add_show,
    examples,
    limit_options,
    request_options,
    resource_path,
    set_fields,
    to_params,
    to_text,
)
from service.client.terminal import print_message
from service.command_line import CheckedText, NameChoice
from service.domain.filter_types import CaseType
from service.domain.variants import parse_pairs
from service.identity.keys.model import creator_of

_ACTIVE: Final = "active"
_STATES: Final = {_ACTIVE: True, "ended": False, "all": None}
_CASE: Final = CheckedText(CaseType().parse, "CASE")
_id: Final = click.argument("quarantine_id", type=PATH_ID)
_DEFAULT: Final = "  [default: 14 days from now]"


def _cases(quarantine: ApiObject) -> str:
    """Return which cases a quarantine matches."""
    if quarantine["case"]:
        return str(quarantine["case"])
    names = " > ".join(quarantine[field] or "*" for field in ("suite", "name"))
    return f"{names} [{to_text(quarantine['variant'])}]" if quarantine["variant"] else names


_TABLE: Final = Table(
    "quarantines", {
        "ID": "id", "PROJECT": "project_id", "ACTIVE": "active",
        "EXPIRES": "expires_at", "CASES": _cases, "CREATED BY": creator_of, "REASON": "reason",
    },
)  # fmt: skip


def _description_options(required: bool, default: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds the options that a quarantine can change later."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for option in (
            click.option(
                "--expires-at", type=TIME,
                help=f"Date or time of the end, at most 90 days from now.{default}",
            ),
            click.option("--ticket-url", type=TEXT, metavar="URL", help="Link to the ticket."),
            click.option("--owner", type=NAME, help="Who fixes the failure."),
            click.option("--reason", type=TEXT, required=required, help="Why the failures are excused."),
        ):  # fmt: skip
            command = option(command)
        return command

    return add


@click.group()
def quarantines() -> None:
    """List, create, change, and end quarantines.

    A quarantine excuses the failures of matching cases in gates, for at most 90 days.
    """


@quarantines.command("list", epilog=examples("quarantines list --project shop", "quarantines list --state all --json"))
@request_options
@project_option(help_text="Print only the quarantines of this project.")
@click.option(
    "--state", type=NameChoice(tuple(_STATES)), default=_ACTIVE, show_default=True,
    help="Print only active ones, only those that have ended or expired, or all.",
)  # fmt: skip
@click.option("--case", type=_CASE, help="Print only the quarantines of this case (case_…).")
@limit_options
def list_quarantines(
    requests: Requests, project_id: str | None, state: str, case: str | None, limit: int | None
) -> None:
    """List quarantines, newest first."""
    requests.show_list(
        "/quarantines", _TABLE, limit, to_params(project_id=project_id, active=_STATES[state], case=case)
    )


add_show(quarantines, _id, "Show one quarantine.", "quarantines show qua_…")


@quarantines.command("create", epilog=examples(
    "quarantines create --case case_00c0ffee00c0ffee --reason flaky",
    "quarantines create --project shop --name 'pay*' --reason flaky",
))  # fmt: skip
@request_options
@project_option(help_text="Project of the cases, unless --case is set.")
@click.option("--case", type=_CASE, help="The only case (case_…), without --suite, --name, and --variant.")
@click.option("--suite", type=TEXT, help="Glob of the suite, in which * matches any characters.")
@click.option("--name", type=TEXT, help="Glob of the name.")
@click.option("--variant", multiple=True, type=VARIANT, help="Pair that the variant of the case contains; repeatable.")
@_description_options(required=True, default=_DEFAULT)
def create_quarantine(
    requests: Requests, project_id: str | None, case: str | None, variant: tuple[str, ...], **options: Any
) -> None:
    """Excuse the failures of matching cases in gates.

    The results and the runs stay failed. Needs the permission quarantines:manage (role engineer).
    """
    project = None if case else project_id  # a case belongs to its project
    document = set_fields(project_id=project, case=case, variant=_variant(variant), **options)
    requests.send("POST", "/quarantines", document)


@quarantines.command("update", epilog=examples("quarantines update qua_… --expires-at 2026-12-24"))
@_id
@request_options
@_description_options(required=False, default="")
def update_quarantine(requests: Requests, quarantine_id: str, **options: Any) -> None:
    """Change the given fields of an active quarantine.

    Needs the permission quarantines:manage (role engineer).
    """
    changes = set_fields(**options)
    if not changes:
        raise click.UsageError("at least one option is required: --reason, --owner, --ticket-url, or --expires-at")
    requests.send("PATCH", resource_path("quarantines", quarantine_id), changes)


@quarantines.command("end", epilog=examples("quarantines end qua_…"))
@_id
@request_options
def end_quarantine(requests: Requests, quarantine_id: str) -> None:
    """End a quarantine. It remains readable.

    Needs the permission quarantines:manage (role engineer).
    """
    requests.send("DELETE", resource_path("quarantines", quarantine_id))
    print_message(f"ended the quarantine {quarantine_id}")


def _variant(pairs: tuple[str, ...]) -> dict[str, str]:
    try:
        return parse_pairs(pairs)
    except ValueError as error:
        raise click.UsageError(f"--variant: {error}") from error
