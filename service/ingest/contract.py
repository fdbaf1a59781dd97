"""The run-completion event of producers: a CloudEvents 1.0 event with one run and its results.

The models are typed dictionaries, because creating an object for each result would take longer than the rest of the
validation.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Required

import orjson
from pydantic import BeforeValidator, Field, StringConstraints, TypeAdapter
from typing_extensions import TypedDict

from service.contracts.validation import PRINTABLE, SHA256
from service.domain.codeowners import MAX_OWNER, MAX_OWNERS
from service.domain.statuses import ResultStatus, RunStatus
from service.domain.timestamps import MAX_DURATION_MS
from service.domain.variants import MAX_PAIRS
from service.domain.variants import MAX_TEXT as MAX_VARIANT_TEXT
from service.runs.model import MAX_ATTEMPT, MAX_SHARD

_MAX_SIZE: Final = 2**53 - 1  # bytes; the largest integer that every JSON parser represents exactly
MAX_LINE: Final = 2**31 - 1


def _to_integer(number: Any) -> Any:
    """Return the integer that a float is equal to, so that its text has no decimal point. Return others unchanged."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


# The number of a pull request. Producers send it as a number or as text.
PullRequest = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, pattern=PRINTABLE),
    Field(coerce_numbers_to_str=True),
    BeforeValidator(_to_integer),
]
# An ID or name from the producer: 1 to 200 printable characters.
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=PRINTABLE)]
CaseOwner = Annotated[str, StringConstraints(min_length=1, max_length=MAX_OWNER, pattern=PRINTABLE)]
DurationMs = Annotated[float, Field(strict=True, ge=0, le=MAX_DURATION_MS, allow_inf_nan=False)]
ArtifactKind = Literal["screenshot", "trace", "video", "log", "report", "export", "other"]


VariantText = Annotated[str, StringConstraints(min_length=1, max_length=MAX_VARIANT_TEXT, pattern=PRINTABLE)]
Variant = Annotated[
    dict[VariantText, VariantText],
    Field(max_length=MAX_PAIRS, examples=[{"os": "linux"}], description="Part of the identity of a case in a matrix"),
]
ShardNumber = Annotated[int, Field(ge=1, le=MAX_SHARD)]
PartName = Annotated[Identifier, Field(examples=["unit-tests"])]
AttemptNumber = Annotated[int, Field(ge=1, le=MAX_ATTEMPT)]
PartOfUpload = Annotated[PartName | None, Field(description="Name of the CI job, which sends this part of the run")]
AttemptOfJob = Annotated[
    AttemptNumber | None,
    Field(description="Number of the attempt of the CI job: any number that increases when the job runs again"),
]


class Failure(TypedDict, total=False):
    """The failure that a non-passing attempt reported."""

    type: str | None
    message: str | None
    details: str | None


class AttemptIn(TypedDict, total=False):
    """One execution of a case inside a run. Other words for a status are read as in a result."""

    status: Required[ResultStatus]
    duration_ms: DurationMs | None
    started_at: datetime | None
    logs_ref: str | None
    failure: Failure | None


class ArtifactIn(TypedDict, total=False):
    """A reference to a file of a result. The service doesn't store its bytes."""

    kind: ArtifactKind | None
    name: Required[str]
    content_type: str | None
    size: Annotated[int, Field(ge=0, le=_MAX_SIZE)] | None
    sha256: Annotated[str, StringConstraints(pattern=SHA256)] | None
    uri: str | None


class ResultIn(TypedDict, total=False):
    """The outcome of one case. `attempts` lists all attempts, including the last one.

    Other words for a status, such as `FAILED` and `timedOut`, are read. A result with an unknown status is an error.
    `line` is the line of the case in `file`. `properties` are named values that the test adds, such as an issue. If
    `retries` is at least the number of listed attempts, earlier attempts that the report only counts are missing.
    `variant` replaces the variant of the event.
    """

    case_id: Identifier | None
    variant: Variant | None
    suite: str | None
    name: Required[str]
    file: str | None
    line: Annotated[int, Field(ge=0, le=MAX_LINE)] | None
    status: Required[ResultStatus]
    duration_ms: DurationMs | None
    started_at: datetime | None
    logs_ref: str | None
    failure: Failure | None
    attempts: Annotated[list[AttemptIn], Field(fail_fast=True)] | None
    retries: Annotated[int, Field(ge=0)] | None
    artifacts: Annotated[list[ArtifactIn], Field(fail_fast=True)] | None
    properties: dict[str, str] | None
    owners: Annotated[
        list[CaseOwner] | None,
        Field(max_length=MAX_OWNERS, description="Owners of the case. Without them, the property `owner` names them"),
    ]


class RunIn(TypedDict, total=False):
    """The run of the results, identified by organization and run_id.

    An event has at most one of `expected_shards`, `expected_results`, and `final`. Without them, it completes the run;
    with `final: false`, it doesn't. With `notify: false`, the run is stored without events.

    `expected_results` and `expected_shards` define when a run that is sent in several events is complete. `shard` is
    the number of the shard, from 1 to `expected_shards`, which requires it.

    `part`, `shard`, and the variant of the event identify a part of the run: an event replaces only results of its own
    part. If several parts report a case, the worst result is used. `attempt` is the attempt of the CI job: in each
    part, the result of the highest attempt is used, which is flaky if it passed after a failing attempt. Events of the
    same part and attempt belong to different jobs, and the worst result is used. Of events without `attempt`, the
    newest is used.

    Without `status`, the results decide. A run without results then has the status error, and so does a run with an
    unknown status. Other words for a status are read.
    """

    run_id: Required[Identifier]
    project_id: Required[Identifier]
    environment: Identifier | None
    branch: str | None
    commit_sha: str | None
    base_branch: str | None
    pull_request: PullRequest | None
    ci_url: str | None
    pipeline: Identifier | None
    title: str | None
    author: str | None
    workflow: str | None
    job_url: str | None
    repository_url: str | None
    labels: dict[str, str] | None
    status: RunStatus | None
    started_at: datetime | None
    completed_at: datetime | None
    expected_results: Annotated[int, Field(ge=0, le=100_000_000)] | None
    expected_shards: Annotated[int, Field(ge=1, le=10_000)] | None
    shard: ShardNumber | None
    part: PartOfUpload
    attempt: AttemptOfJob
    final: bool | None
    notify: bool | None


class UploadedRun(RunIn, total=False):
    """The run of an uploaded report, with the variant of its results."""

    variant: Variant | None


class RunData(TypedDict, total=False):
    """The `data` of the event. `variant` applies to each result that has none."""

    organization: Required[Identifier]
    run: Required[RunIn]
    variant: Variant | None
    results: Annotated[list[ResultIn], Field(fail_fast=True)]


# An attribute of the distributed tracing extension. An invalid value starts a new trace and never rejects the event.
TracingAttribute = Annotated[
    Any,
    Field(
        description="Distributed tracing extension (W3C Trace Context): the trace of the origin of the event",
        json_schema_extra={"type": "string"},
    ),
]


class CloudEvent(TypedDict, total=False):
    """The CloudEvents attributes of every event."""

    specversion: Required[Literal["1.0"]]
    type: Required[Literal["run.completed"]]
    source: Required[Annotated[str, StringConstraints(min_length=1, max_length=400)]]
    id: Required[Annotated[str, StringConstraints(min_length=1, max_length=200)]]
    time: datetime | None
    traceparent: TracingAttribute
    tracestate: TracingAttribute


class RunCompletedEvent(CloudEvent, total=False):
    """An event with its data (CloudEvents 1.0, structured mode). `source` and `id` identify the event."""

    data: Required[RunData]


class DatarefEvent(CloudEvent, total=False):
    """An event whose `data` is in storage (dataref extension), because it is too large for a message."""

    dataref: Required[Annotated[str, StringConstraints(min_length=1, max_length=2_000)]]


RUN_COMPLETED_EVENT: Final = TypeAdapter(RunCompletedEvent)
DATAREF_EVENT: Final = TypeAdapter(DatarefEvent)

STRUCTURED: Final = "application/cloudevents+json"
# The AMQP binding prefixes attributes with "cloudEvents:", or with "cloudEvents_" if a client doesn't support colons.
# The RabbitMQ binding prefixes them with "ce-". Names of AMQP headers are case-sensitive.
TRACE_ATTRIBUTES: Final = ("traceparent", "tracestate")  # of the distributed tracing extension
_TRACE_PARENT: Final = b'"traceparent"'
HEADER_PREFIXES: Final = ("cloudEvents:", "cloudEvents_", "ce-")


class ConflictingPrefixes(ValueError):
    """The headers of a message contain attributes with different prefixes."""


def to_structured_mode(body: bytes, content_type: str | None, headers: Mapping[str, Any]) -> bytes:
    """Return the event as one JSON object. In binary mode, the headers are the attributes and the body is `data`.

    Raises ConflictingPrefixes if the headers are those of several bindings.
    """
    if not headers or (content_type is not None and content_type.partition(";")[0].strip() == STRUCTURED):
        return body
    attributes = _attributes(headers)
    if "specversion" not in attributes:
        return body
    event = orjson.dumps(attributes)
    return event[:-1] + b',"data":' + (body or b"null") + b"}"


def trace_attributes(event: bytes) -> dict[str, str]:
    """Return the attributes of the distributed tracing extension: traceparent and tracestate, if the event has them.

    The event is in structured mode, and can be invalid.
    """
    if _TRACE_PARENT not in event:
        return {}
    try:
        attributes = orjson.loads(event)
    except orjson.JSONDecodeError:
        return {}
    found = attributes if isinstance(attributes, dict) else {}
    return {name: found[name] for name in TRACE_ATTRIBUTES if isinstance(found.get(name), str)}


def _attributes(headers: Mapping[str, Any]) -> dict[str, str]:
    prefixes = [prefix for prefix in HEADER_PREFIXES if any(name.startswith(prefix) for name in headers)]
    if len(prefixes) > 1:
        raise ConflictingPrefixes(
            f"headers: attributes have the prefixes {' and '.join(prefixes)}. Use one prefix for all attributes."
        )
    return {
        name[len(prefix) :]: _text(value)
        for prefix in prefixes
        for name, value in headers.items()
        if name.startswith(prefix)
    }


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()  # an AMQP timestamp, which has a time zone
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
