"""What answers look like. PostgreSQL writes most of them; the tests hold every answer to these shapes."""

from typing import Annotated, Any, Generic, Literal, NotRequired, TypeVar

from pydantic import ConfigDict, Field, StringConstraints, with_config
from typing_extensions import TypedDict

from service.contracts.run_events import ArtifactKind
from service.domain.deliveries import DeliveryStatus
from service.domain.exports import Column, Compression, ExportFormatName
from service.domain.keys import KeyRole
from service.domain.statuses import ResultStatus, RunStatus

Time = Annotated[
    str,
    StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"),
    Field(examples=["2026-05-20T12:00:00.000Z"], json_schema_extra={"format": "date-time"}),
]
Sha256Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Rate = Annotated[float, Field(ge=0, le=1)]
PageItem = TypeVar("PageItem")

_closed = with_config(ConfigDict(extra="forbid"))


@_closed
class Page(TypedDict, Generic[PageItem]):
    """A page of a list. It may be short, even empty, while there is more: `has_more` alone tells the end."""

    data: list[PageItem]
    has_more: bool
    next_cursor: Annotated[str | None, Field(description="For `starting_after`, with the same filters")]


@_closed
class ErrorDetail(TypedDict):
    """What went wrong."""

    code: Annotated[str, Field(examples=["invalid_request"])]
    message: str
    param: NotRequired[Annotated[str, Field(description="The part of the request that is wrong")]]


@_closed
class Error(TypedDict):
    """Every error has this shape."""

    error: ErrorDetail
    request_id: str


@_closed
class Result(TypedDict):
    """The outcome of one case in one run."""

    id: Annotated[str, StringConstraints(pattern=r"^res_[0-9a-f]{48}$")]
    run_id: str
    project_id: str
    environment: str | None
    branch: str | None
    case: Annotated[str, StringConstraints(pattern=r"^case_[0-9a-f]{16}$")]
    case_id: Annotated[str | None, Field(description="The producer's own")]
    suite: str
    name: str
    file: str | None
    status: ResultStatus
    flaky: Annotated[bool, Field(description="Passed in the end, after an attempt that failed")]
    attempts: int
    duration_ms: int
    started_at: Time | None
    completed_at: Annotated[Time, Field(description="Of its run")]
    failure_summary: Annotated[str | None, Field(description="First line of the failure, null when passed")]


@_closed
class FailureDetail(TypedDict):
    """What a non-passing attempt said."""

    type: str | None
    message: str | None
    details: str | None


@_closed
class AttemptDetail(TypedDict):
    """One execution of the case inside the run."""

    attempt: int
    status: ResultStatus
    duration_ms: int
    started_at: Time | None
    failure: FailureDetail | None
    logs_ref: str | None


@_closed
class RunCounts(TypedDict):
    """How many results have each status, and how many passed only after failing."""

    passed: int
    failed: int
    error: int
    skipped: int
    canceled: int
    flaky: int


@_closed
class Run(TypedDict):
    """A validation run."""

    run_id: str
    project_id: str
    environment: str | None
    branch: str | None
    commit_sha: str | None
    ci_url: str | None
    labels: dict[str, str]
    status: RunStatus
    complete: Annotated[bool, Field(description="All results and shards that were announced have come")]
    counts: RunCounts
    expected_results: int | None
    expected_shards: int | None
    revision: Annotated[int, Field(description="Raised by every change")]
    started_at: Time | None
    completed_at: Annotated[Time, Field(description="Of its first event; never changes")]
    last_completed_at: Time
    duration_ms: int | None
    results_expired: Annotated[bool, Field(description="Its results are beyond the retention")]


@_closed
class ResultDetail(Result):
    """One result with everything that is known of it."""

    logs_ref: str | None
    failure: FailureDetail | None
    attempt_details: list[AttemptDetail]
    run: Run
    artifacts_url: str


@_closed
class Artifact(TypedDict):
    """A file of a result or of its run. Bytes that are kept elsewhere have a `uri` and no `url`."""

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


@_closed
class CaseSummary(TypedDict):
    """What results are outcomes of, with what its last runs say.

    Statistics are over its latest runs that hold a result of it, as many as the query parameter `runs` says (50 by
    default); they are looked for among the project's last 200 runs in the list, its last 2,000 for one case. Rates and
    durations are over those of these results that were executed: passed, failed or error. Skipped and canceled ones
    are left out; where no result was executed, all four are null.
    """

    id: Annotated[str, StringConstraints(pattern=r"^case_[0-9a-f]{16}$")]
    project_id: str
    case_id: str | None
    suite: str
    name: str
    file: str | None
    last_status: Annotated[ResultStatus | None, Field(description="In the latest of these runs, whatever it is")]
    last_run_id: str | None
    last_completed_at: Time | None
    runs: Annotated[int, Field(description="How many runs were found, those in which it was skipped or canceled too")]
    failure_rate: Annotated[Rate | None, Field(description="Failed and error, of the executed results")]
    flaky_rate: Annotated[Rate | None, Field(description="Flaky, of the executed results")]
    mean_duration_ms: Annotated[int | None, Field(description="Of the executed results")]
    p95_duration_ms: Annotated[
        int | None, Field(description="Of the executed results: the shortest that 95 % of them do not exceed")
    ]


@_closed
class Export(TypedDict):
    """A bulk export. `size` and `sha256` are of exactly the bytes at `file_url`."""

    id: str
    status: Literal["queued", "running", "succeeded", "failed", "canceled", "expired"]
    format: ExportFormatName
    compression: Compression
    columns: list[Column]
    raw: bool
    filter: dict[str, Any]
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


@_closed
class ReceiptProblem(TypedDict):
    """What was wrong with one result of an event or report, or with all of it where `index` is null."""

    index: int | None
    name: str | None
    reason: str


@_closed
class Receipt(TypedDict):
    """What became of one incoming event or report."""

    id: str
    status: Literal["queued", "processing", "stored", "partial", "rejected"]
    run_id: str | None
    source: str
    event_id: str
    results: Annotated[int, Field(description="How many were stored")]
    problems: list[ReceiptProblem]
    received_at: Time


class EventData(TypedDict):
    """`object` is what the event is about, such as a run as it was then."""

    object: dict[str, Any]


@_closed
class Event(TypedDict):
    """A fact, in the envelope that webhooks get too."""

    id: str
    type: str
    created: Time
    data: EventData


@_closed
class Webhook(TypedDict):
    """A registered endpoint, with how it does."""

    id: str
    url: str
    description: str
    events: list[str]
    project_id: str | None
    enabled: bool
    disabled_reason: Literal["by_request", "failing", "gone"] | None
    failures: Annotated[int, Field(description="In a row")]
    failing_since: Time | None
    paused_until: Time | None
    previous_secret_expires_at: Time | None
    created_at: Time
    updated_at: Time


@_closed
class WebhookWithSecret(Webhook):
    """A webhook with its new secret, which is null where the answer is repeated."""

    secret: str | None


@_closed
class WebhookDelivery(TypedDict):
    """One event on its way to one webhook."""

    id: str
    event_id: Annotated[str, Field(description="The `webhook-id` of every attempt")]
    status: DeliveryStatus
    attempts: int
    next_attempt_at: Time | None
    last_status: int | None
    created_at: Time
    attempt_log: list[dict[str, Any]]


@_closed
class Recovery(TypedDict):
    """A job that delivers again what a webhook has missed."""

    id: str
    webhook_id: str
    status: Literal["queued", "running", "succeeded"]
    since: Time
    until: Time
    recovered: int
    created_at: Time
    finished_at: Time | None


@_closed
class ApiKey(TypedDict):
    """What may be seen of an API key."""

    id: str
    name: str
    role: KeyRole
    project_id: str | None
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    last_used_at: Time | None


@_closed
class ApiKeyWithSecret(ApiKey):
    """A key that was just made or given another secret; `key` is null where the answer is repeated."""

    key: str | None


class Health(TypedDict):
    """The process answers."""

    status: Literal["ok"]


class Readiness(TypedDict):
    """Whether queries can be answered, and the state of each part."""

    status: Literal["ready", "unavailable"]
    parts: dict[str, Any]
