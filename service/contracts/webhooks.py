"""Webhook request bodies and queries."""

from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from service.contracts.patches import Patch
from service.contracts.queries import PageQuery, Timestamp
from service.contracts.run_events import Identifier
from service.contracts.validation import NO_NUL
from service.domain.addresses import AllowedAddresses, parse_address
from service.domain.deliveries import DeliveryStatus
from service.domain.errors import InvalidRequest
from service.domain.events import EventType, ZofEventType
from service.domain.signatures import MAX_SECRET_CHARS, MIN_SECRET_CHARS, check_webhook_secret

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


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WebhookIn(_Strict):
    """A webhook to create."""

    url: str
    events: Events = []
    description: Description = ""
    project_id: Identifier | None = Field(None, description="Deliver only the events of this project")
    enabled: bool = True
    secret: ChosenSecret | None = None


class WebhookPatch(Patch):
    """The fields of a webhook to change. Absent fields keep their values."""

    url: str = Field(default_factory=str)
    events: Events = Field(default_factory=list)
    description: Description = Field(default_factory=str)
    project_id: Identifier | None = None
    enabled: bool = Field(default_factory=bool)


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
