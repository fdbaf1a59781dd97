"""The commands `webhooks`."""

from collections.abc import Callable
from typing import Any, Final, get_args

import click

from service.client.arguments import IDENTIFIER, PATH_ID, TEXT
from service.client.commands.requests import (
    ApiObject,
    Requests,
    Table,
    add_action,
    add_delete,
    add_list,
    add_show,
    examples,
    limit_options,
    request_options,
    resource_path,
    set_fields,
    to_params,
)
from service.client.terminal import print_message
from service.command_line import NameChoice
from service.domain.statuses import STATE_VALUES
from service.events.model import EVENT_TYPES, FilterName, ZofEventType
from service.webhooks.model import DeliveryStatus, WebhookFormat

_ALL_EVENTS: Final = "all"
_EVENTS: Final = tuple(dict.fromkeys((*EVENT_TYPES, *get_args(ZofEventType))))
_id: Final = click.argument("webhook_id", type=PATH_ID)
_endpoint: Final = click.argument("endpoint", type=TEXT, metavar="ENDPOINT")


def _state(webhook: ApiObject) -> str:
    return "enabled" if webhook["enabled"] else f"disabled ({webhook['disabled_reason']})"


_TABLE: Final = Table(
    "webhooks", {
        "ID": "id", "STATE": _state, "PROJECT": "project_id", "URL": "url",
        "FORMAT": "format", "EVENTS": lambda webhook: webhook["events"] or _ALL_EVENTS,
    },
)  # fmt: skip
_DELIVERIES: Final = Table(
    "deliveries", {
        "ID": "id", "STATUS": "status", "ATTEMPTS": "attempts",
        "LAST STATUS": "last_status", "NEXT ATTEMPT": "next_attempt_at",
        "CREATED": "created_at", "EVENT": "event_id",
    },
)  # fmt: skip


def _subscription_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of the events that a webhook receives."""
    events = click.option(
        "--event", "events", multiple=True, type=NameChoice((_ALL_EVENTS, *_EVENTS)), metavar="TYPE",
        help=f"Event type to deliver, or `all`; repeatable. Types: {', '.join(_EVENTS)}.",
    )  # fmt: skip
    project = click.option("--project", "project_id", type=IDENTIFIER, help="Deliver only its events.")
    branch = click.option("--branch", type=TEXT, help="Deliver only events of this branch.")
    owner = click.option("--owner", type=TEXT, help="Deliver only events of cases with this owner.")
    state = click.option("--state", type=NameChoice(STATE_VALUES), help="Deliver only events of cases in this state.")
    form = click.option("--format", type=NameChoice(get_args(WebhookFormat)), help="Messages, or standard envelopes.")
    description = click.option("--description", type=TEXT, help="Text for people.")
    return events(project(branch(owner(state(form(description(command)))))))


@click.group()
def webhooks() -> None:
    """List, register, test, and change webhooks.

    The commands need the permission webhooks:manage (role admin).
    """


add_list(webhooks, _TABLE, "List webhooks, newest first.", "webhooks list")
add_show(webhooks, _id, "Show one webhook with the state of its endpoint.", "webhooks show whk_…")
add_delete(
    webhooks, _id, "webhook", "Delete the webhook {webhook_id} and its deliveries?",
    "Delete a webhook and its deliveries.", "webhooks delete whk_… --yes",
)  # fmt: skip
add_action(
    webhooks, "test", _id,
    "Send an event of type webhook.test to a webhook.\n\n`webhooks deliveries` shows whether it has arrived.",
    "webhooks test whk_…", "webhooks deliveries whk_…",
)  # fmt: skip


@webhooks.command("create", epilog=examples(
    "webhooks create https://ci.example.org/hook --event run.failed",
))  # fmt: skip
@_endpoint
@request_options
@_subscription_options
@click.option("--disabled", is_flag=True, help="Don't deliver events yet.")
def create_webhook(requests: Requests, endpoint: str, disabled: bool, **options: Any) -> None:
    """Register a webhook, and print its secret.

    ENDPOINT is the URL that receives the events: all events without --event. The secret isn't shown again.
    """
    document = {"url": endpoint, "enabled": not disabled, **_subscription(options)}
    _explain_secret(requests.send("POST", "/webhooks", document))


@webhooks.command("update", epilog=examples("webhooks update whk_… --enable", "webhooks update whk_… --event all"))
@_id
@request_options
@click.option("--endpoint", type=TEXT, metavar="URL", help="New URL of the endpoint.")
@_subscription_options
@click.option("--enable/--disable", "enabled", default=None, help="Deliver events, or don't.")
def update_webhook(
    requests: Requests, webhook_id: str, endpoint: str | None, enabled: bool | None, **options: Any
) -> None:
    """Change the given fields of a webhook."""
    changes = {**set_fields(url=endpoint, enabled=enabled), **_subscription(options)}
    if not changes:
        raise click.UsageError("at least one option is required, such as --enable or --event")
    requests.send("PATCH", resource_path("webhooks", webhook_id), changes)


@webhooks.command("rotate-secret", epilog=examples("webhooks rotate-secret whk_…"))
@_id
@request_options
def rotate_secret(requests: Requests, webhook_id: str) -> None:
    """Replace the secret of a webhook, and print the new one.

    The secret isn't shown again. The previous one also signs deliveries for 24 hours.
    """
    _explain_secret(requests.send("POST", resource_path("webhooks", webhook_id, "rotate-secret")))


@webhooks.command("deliveries", epilog=examples("webhooks deliveries whk_… --status exhausted"))
@_id
@request_options
@click.option("--status", type=NameChoice(get_args(DeliveryStatus)), help="Print only deliveries with this status.")
@limit_options
def list_deliveries(requests: Requests, webhook_id: str, status: str | None, limit: int | None) -> None:
    """List the deliveries of a webhook, newest event first.

    --json also prints each attempt.
    """
    path = resource_path("webhooks", webhook_id, "deliveries")
    requests.show_list(path, _DELIVERIES, limit, to_params(status=status))


@webhooks.command("redeliver", epilog=examples("webhooks redeliver whk_… dlv_…"))
@_id
@click.argument("delivery_id", type=PATH_ID)
@request_options
def redeliver(requests: Requests, webhook_id: str, delivery_id: str) -> None:
    """Deliver an event to a webhook again."""
    requests.send("POST", resource_path("webhooks", webhook_id, "deliveries", delivery_id, "redeliver"))


def _subscription(options: dict[str, Any]) -> ApiObject:
    """Return the fields of the events. An empty list of the API means all types."""
    events = options.pop("events")
    selected = {"events": [] if _ALL_EVENTS in events else list(events)} if events else {}
    filters = set_fields(**{name: options.pop(name) for name in get_args(FilterName)})
    return {**selected, **set_fields(**options, filters=filters or None)}


def _explain_secret(webhook: ApiObject) -> None:
    """Print what to do with the secret. A response that was lost and repeated doesn't contain it."""
    if webhook["secret"]:
        print_message("store the secret now: it isn't shown again")
    else:
        print_message(f"the response with the secret was lost: run zof-results webhooks rotate-secret {webhook['id']}")
