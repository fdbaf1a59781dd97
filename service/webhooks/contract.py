"""Webhook request bodies and queries."""

from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from typing_extensions import TypedDict

from service.contracts.queries import BranchName, Name, PageQuery, Patch, Timestamp
from service.contracts.responses import Time, closed
from service.contracts.validation import NO_NUL
from service.domain.addresses import AllowedAddresses, parse_address
from service.domain.errors import InvalidRequest
from service.domain.statuses import StateValue
from service.events.model import EventType, ZofEventType
from service.ingest.contract import Identifier
from service.webhooks.model import (
    MAX_SECRET_CHARS,
    MIN_SECRET_CHARS,
    DeliveryStatus,
    WebhookFormat,
    check_webhook_secret,
)

_MAX_URL_CHARS: Final = 2_000


SubscribedType = Literal[EventType, ZofEventType]


def _without_duplicates(events: list[SubscribedType]) -> list[SubscribedType]:
    return list(dict.fromkeys(events))


Description = Annotated[str, StringConstraints(max_length=1_000, pattern=NO_NUL)]
Events = Annotated[
    list[SubscribedType],
    AfterValidator(_without_duplicates),
    Field(max_length=50, description="The event types to deliver; an empty list means all types"),
]
ChosenSecret = Annotated[
    str,
    AfterValidator(check_webhook_secret),
    Field(
        description="`whsec_` and the base64 of 24 to 64 bytes, or 16 to 256 printable characters. By default, the "
        "service generates a secret. The response never contains a secret that the client chose.",
        json_schema_extra={"minLength": MIN_SECRET_CHARS, "maxLength": MAX_SECRET_CHARS},
    ),
]

WebhookFormatIn = Annotated[
    WebhookFormat,
    Field(description="`standard`: envelopes of events. `slack`, `teams`: messages for people, at most 20 per hour"),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FiltersIn(_Strict):
    """The filters of a webhook. An event must match each one that isn't null."""

    project_id: Identifier | None = Field(None, description="Project of the event. The same as `project_id`")
    branch: BranchName | None = Field(None, description="Branch of the run, case, failure group, or decision")
    owner: Name | None = Field(None, description="Owner of a case, of a case of the failure group, or of the digest")
    state: StateValue | None = Field(None, description="State of the case after the change")


class WebhookIn(_Strict):
    """A webhook to create."""

    url: str
    events: Events = []
    description: Description = ""
    project_id: Identifier | None = Field(None, description="Deliver only the events of this project")
    enabled: bool = True
    format: WebhookFormatIn = "standard"
    filters: FiltersIn = FiltersIn()
    secret: ChosenSecret | None = None


class WebhookPatch(Patch):
    """The fields of a webhook to change. Absent fields keep their values."""

    url: str = Field(default_factory=str)
    events: Events = Field(default_factory=list)
    description: Description = Field(default_factory=str)
    project_id: Identifier | None = None
    enabled: bool = Field(default_factory=bool)
    format: WebhookFormatIn = Field(default_factory=lambda: "standard")
    filters: FiltersIn = Field(FiltersIn(), description="Absent filters keep their values; null removes one")


class RecoverIn(_Strict):
    """The time from which missed events are delivered again."""

    since: Timestamp


class DeliveryQuery(PageQuery):
    """A page of the deliveries of a webhook."""

    status: DeliveryStatus | None = None


def checked_url(url: str, allowed: AllowedAddresses) -> str:
    """Return the URL of a webhook if it's allowed. Raises InvalidRequest with the param `url`.

    Literal addresses are checked here, and the addresses of host names at connect time. If loopback addresses are
    allowed (for development), plain HTTP is too.
    """
    schemes = ("https", "http") if allowed.loopback else ("https",)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InvalidRequest("url: must be a valid URL", "url") from None
    if parts.scheme not in schemes:
        raise InvalidRequest(f"url: must start with {' or '.join(f'{scheme}://' for scheme in schemes)}", "url")
    if not host or parts.username is not None or len(url) > _MAX_URL_CHARS or not url.isprintable() or " " in url:
        raise InvalidRequest(
            f"url: must have a host, no user name or spaces, and at most {_MAX_URL_CHARS} characters", "url"
        )
    address = parse_address(host)
    if address and not allowed.contains(address):
        raise InvalidRequest(f"url: {allowed.describe_rejection(host)}", "url")
    return url


@closed
class WebhookFilters(TypedDict):
    """The filters of a webhook. Null: any value."""

    project_id: str | None
    branch: str | None
    owner: str | None
    state: StateValue | None


@closed
class Webhook(TypedDict):
    """A registered endpoint and its state."""

    id: str
    url: str
    description: str
    events: list[str]
    never_sent: Annotated[list[str], Field(description="The types in `events` that this service never sends")]
    project_id: str | None
    format: WebhookFormat
    filters: WebhookFilters
    enabled: bool
    disabled_reason: Literal["by_request", "failing", "gone"] | None
    failures: Annotated[int, Field(description="Number of consecutive failures")]
    failing_since: Time | None
    paused_until: Time | None
    previous_secret_expires_at: Time | None
    created_at: Time
    updated_at: Time


@closed
class WebhookWithSecret(Webhook):
    """A webhook with its new secret. The secret is null if the client chose it, and in a replayed response."""

    secret: str | None


@closed
class WebhookDelivery(TypedDict):
    """The delivery of one event to one webhook."""

    id: str
    event_id: Annotated[str, Field(description="Value of the header `webhook-id` in every attempt")]
    status: DeliveryStatus
    attempts: int
    next_attempt_at: Time | None
    last_status: int | None
    created_at: Time
    attempt_log: list[dict[str, Any]]


@closed
class Recovery(TypedDict):
    """A job that delivers the events that a webhook has missed."""

    id: str
    webhook_id: str
    status: Literal["queued", "running", "succeeded"]
    since: Time
    until: Time
    recovered: int
    created_at: Time
    finished_at: Time | None
