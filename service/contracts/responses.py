"""The response models of the API. PostgreSQL writes most responses; tests validate them against these models."""

from typing import Annotated, Any, Final, Generic, Literal, NotRequired, TypeVar

from pydantic import ConfigDict, Field, StringConstraints, with_config
from typing_extensions import TypedDict

from service.contracts.run_events import ArtifactKind
from service.contracts.validation import RECEIPT_ID
from service.domain.deliveries import DeliveryStatus
from service.domain.errors import ErrorCode
from service.domain.export_columns import AnyColumn, ExportContent
from service.domain.exports import Compression, ExportFormatName
from service.domain.keys import KeyRole

Time = Annotated[
    str,
    StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"),
    Field(examples=["2026-05-20T12:00:00.000Z"], json_schema_extra={"format": "date-time"}),
]
Sha256Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Rate = Annotated[float, Field(ge=0, le=1)]
ActorId = Annotated[str, Field(description="ID of the API key, of the trusted publisher of a CI job, or of the person")]
ActorName = Annotated[
    str | None,
    Field(
        description="Name of the API key or publisher, which isn't unique, or name of the person, else the email. Null"
        " if the ID has no name, for example because the person was erased"
    ),
]
PageItem = TypeVar("PageItem")

closed: Final = with_config(ConfigDict(extra="forbid"))  # tests find fields that a model lacks


@closed
class PagePosition(TypedDict):
    """The position of a page in its list."""

    has_more: bool
    next_cursor: Annotated[
        str | None, Field(description="Value of `starting_after` for the next page, with the same filters")
    ]


@closed
class Page(PagePosition, Generic[PageItem]):
    """A page of a list. A page can be short or empty while `has_more` is true; only `has_more: false` marks the end."""

    data: list[PageItem]


@closed
class ErrorDetail(TypedDict):
    """The code and message of an error."""

    code: ErrorCode
    message: str
    param: NotRequired[Annotated[str, Field(description="The wrong parameter, field, or header")]]


@closed
class Error(TypedDict):
    """The body of every error response."""

    error: ErrorDetail
    request_id: str


@closed
class Project(TypedDict):
    """A producer's grouping of runs and cases. It exists as soon as one of its runs is stored."""

    project_id: str
    default_branch: Annotated[
        str, Field(description="Branch with which runs are compared if they state no base_branch")
    ]
    last_run_at: Annotated[Time | None, Field(description="Completion time of the newest stored run")]
    code_url_pattern: Annotated[
        str | None,
        Field(
            description="URL of a line of a file at a commit, with {commit}, {file}, and {line}; null: in the form of"
            " the code host"
        ),
    ]
    untrusted_uploads: Annotated[
        bool, Field(description="Whether keys of the role public can upload untrusted runs of the project")
    ]
    created_at: Time
    deletion_requested_at: Annotated[
        Time | None, Field(description="If set, the project is being deleted, and then no longer found")
    ]


@closed
class Artifact(TypedDict):
    """A file of a result or of a run.

    A file in external storage, or one that a report names and no client has uploaded, has a `uri` and no `url`.
    """

    id: Annotated[str, StringConstraints(pattern=r"^art_[0-9a-f]{64}$")]
    kind: ArtifactKind
    name: str
    content_type: str | None
    size: int | None
    sha256: Sha256Hex | None
    created_at: Time
    url: str | None
    expires_at: Time | None
    uri: str | None
    case: Annotated[
        str | None,
        StringConstraints(pattern=r"^case_[0-9a-f]{16}$"),
        Field(description="Case of the result that the file belongs to; null if it belongs to the run itself"),
    ]
    receipt_id: Annotated[
        str | None,
        StringConstraints(pattern=RECEIPT_ID),
        Field(description="Receipt of the report that names the file; null if no report names it"),
    ]


@closed
class Export(TypedDict):
    """An export job. `size` and `sha256` describe the exact bytes at `file_url`."""

    id: str
    status: Literal["queued", "running", "succeeded", "failed", "canceled", "expired"]
    format: ExportFormatName
    compression: Compression
    content: Annotated[ExportContent, Field(description="The rows of the file")]
    columns: list[AnyColumn]
    raw: bool
    filter: dict[str, Any]
    updated_since: Annotated[str | None, Field(description="The position of the request, or null for all runs")]
    position: Annotated[
        str | None,
        Field(
            description="Value of `updated_since` for the next export, which then contains every change that this one"
            " doesn't contain. Null until the export has succeeded"
        ),
    ]
    rows: int | None
    size: int | None
    sha256: Sha256Hex | None
    progress: Rate | None
    error: str | None
    created_at: Time
    started_at: Time | None
    finished_at: Time | None
    expires_at: Time | None
    file_url: str | None


class EventData(TypedDict):
    """The data of an event: the object, such as a run, at the time of the event."""

    object: dict[str, Any]


@closed
class Event(TypedDict):
    """An event in the envelope that webhooks also receive."""

    id: str
    type: str
    created: Time
    data: EventData


@closed
class Webhook(TypedDict):
    """A registered endpoint and its state."""

    id: str
    url: str
    description: str
    events: list[str]
    never_sent: Annotated[list[str], Field(description="The types in `events` that this service never sends")]
    project_id: str | None
    enabled: bool
    disabled_reason: Literal["by_request", "failing", "gone"] | None
    failures: Annotated[int, Field(description="Number of consecutive failures")]
    failing_since: Time | None
    paused_until: Time | None
    previous_secret_expires_at: Time | None
    created_at: Time
    updated_at: Time


@closed
class Quarantine(TypedDict):
    """A time-limited rule that excuses failures of matching cases in gates. Ended and expired ones stay readable."""

    id: Annotated[str, StringConstraints(pattern=r"^qua_[0-9a-f]{32}$")]
    project_id: str
    case: Annotated[str | None, Field(description="The only case that matches, or null")]
    suite: Annotated[str | None, Field(description="Glob of the suite, or null if any suite matches")]
    name: Annotated[str | None, Field(description="Glob of the name, or null if any name matches")]
    variant: Annotated[dict[str, str], Field(description="Pairs that the variant of a matching case contains")]
    reason: str
    owner: str | None
    ticket_url: str | None
    expires_at: Time
    active: Annotated[bool, Field(description="Neither ended nor expired at the time of the request")]
    created_by: ActorId
    created_by_name: ActorName
    created_at: Time
    ended_at: Annotated[Time | None, Field(description="Time of the request that ended the quarantine")]


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


@closed
class ApiKey(TypedDict):
    """An API key without its secret."""

    id: str
    name: str
    role: KeyRole
    project_id: str | None
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    last_used_at: Time | None


@closed
class ApiKeyWithSecret(ApiKey):
    """A new or rotated API key. `key` is null in a replayed response."""

    key: str | None


class Health(TypedDict):
    """The state and the version of the process."""

    status: Literal["ok"]
    version: Annotated[str, Field(description="Version of the service")]
    commit: NotRequired[Annotated[str, Field(description="Full SHA of the commit; absent if it's unknown")]]


class Readiness(TypedDict):
    """Whether the service is ready for queries, and the state of each component."""

    status: Literal["ready", "unavailable"]
    parts: dict[str, Any]
