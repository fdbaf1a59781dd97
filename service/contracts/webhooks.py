"""Webhooks as their owners write them."""

from typing import Annotated, Any, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from service.contracts.queries import PageQuery, Timestamp
from service.contracts.run_events import Identifier
from service.contracts.validation import NO_NUL
from service.domain.addresses import is_loopback, is_public, parse_address
from service.domain.deliveries import DeliveryStatus
from service.domain.errors import InvalidRequest
from service.domain.events import EventType

_MAX_URL: Final = 2_000


def _distinct(events: list[EventType]) -> list[EventType]:
    return list(dict.fromkeys(events))


Description = Annotated[str, StringConstraints(max_length=1_000, pattern=NO_NUL)]
Events = Annotated[
    list[EventType],
    AfterValidator(_distinct),
    Field(max_length=50, description="The types that are wanted; all of them where the list is empty"),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WebhookIn(_Strict):
    """A new webhook."""

    url: str
    events: Events = []
    description: Description = ""
    project_id: Identifier | None = Field(None, description="Only what is about this project")
    enabled: bool = True


class WebhookPatch(_Strict):
    """What changes; what is absent stays."""

    url: str = ""
    events: Events = []
    description: Description = ""
    project_id: Identifier | None = None
    enabled: bool = True

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("the body must change something")
        return self

    def changes(self) -> dict[str, Any]:
        """The fields that were sent."""
        return self.model_dump(include=self.model_fields_set)


class RecoverIn(_Strict):
    """From when on missed events are to be delivered again."""

    since: Timestamp


class DeliveryQuery(PageQuery):
    """A page of the deliveries of a webhook."""

    status: DeliveryStatus | None = None


def checked_url(url: str, *, allow_loopback: bool) -> str:
    """The URL, where events may go there as far as it shows; names are judged when they are connected to.

    Raises InvalidRequest. Plain HTTP is for development, which allows loopback.
    """
    schemes = ("https", "http") if allow_loopback else ("https",)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InvalidRequest("url: not a URL", "url") from None
    if parts.scheme not in schemes:
        raise InvalidRequest(f"url: must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}", "url")
    if not host or parts.username is not None or len(url) > _MAX_URL or not url.isprintable() or " " in url:
        raise InvalidRequest(f"url: must name a host, no user, and have at most {_MAX_URL} characters", "url")
    address = parse_address(host)
    if address and not (is_public(address) or (allow_loopback and is_loopback(address))):
        raise InvalidRequest(f"url: {host} is not a public address", "url")
    return url
