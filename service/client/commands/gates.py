"""The commands `gates`."""

from typing import Any, Final

import click

from service.client.arguments import PATH_ID
from service.client.commands.requests import (
    ApiObject,
    Requests,
    Table,
    add_delete,
    add_list,
    add_show,
    examples,
    request_options,
    resource_path,
)
from service.client.gate_options import policy_options, selected_limits

_ANY: Final = "any"


def _policy(gate: ApiObject) -> str:
    limits = gate["policy"].items()
    return ", ".join(f"{name}: {_ANY if limit is None else limit}" for name, limit in limits)


_TABLE: Final = Table(
    "gates", {"NAME": "name", "VERSION": "version", "UPDATED": "updated_at",
              "POLICY": _policy},
)  # fmt: skip
_name: Final = click.argument("name", type=PATH_ID)


@click.group()
def gates() -> None:
    """List and change the gates of the organization.

    `zof-results gate --gate NAME` applies a gate to a run.
    """


add_list(gates, _TABLE, "List gates in the order of their names.", "gates list", "gates list --json")
add_show(gates, _name, "Show one gate.", "gates show release")
add_delete(
    gates, _name, "gate", "Delete the gate {name}?",
    "Delete a gate. Its decisions remain.\n\nNeeds the permission gates:manage (role admin).",
    "gates delete release --yes",
)  # fmt: skip


@gates.command("set", epilog=examples(
    "gates set release --max-new-failures 0 --min-pass-rate 0.98",
    "gates set nightly --max-failures 5 --max-missing-parts any",
))  # fmt: skip
@_name
@request_options
@policy_options
@click.option(
    "--max-missing-parts", metavar="N|any", callback=lambda _, __, value: _parse_parts(value),
    help="Maximum number of CI jobs that sent no results.  [default: 0]",
)  # fmt: skip
def set_gate(requests: Requests, name: str, max_missing_parts: int | str | None, **options: Any) -> None:
    """Create a gate, or replace its policy.

    The policy contains only the given limits. Needs the permission gates:manage (role admin).
    """
    policy: ApiObject = selected_limits(options)
    if max_missing_parts is not None:
        policy["max_missing_parts"] = None if max_missing_parts == _ANY else max_missing_parts
    if not policy:
        raise click.UsageError("at least one limit is required, such as --max-new-failures 0")
    requests.send("PUT", resource_path("gates", name), {"policy": policy})


def _parse_parts(text: str | None) -> int | str | None:
    """Return the number of parts. Raises BadParameter."""
    if text is None or text == _ANY:
        return text
    if not (text.isascii() and text.isdigit()):
        raise click.BadParameter(f"'{text}' must be a number, or {_ANY}.")
    return int(text)
