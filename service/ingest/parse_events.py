"""Conversion of the bytes of a run-completion event to its parsed form, without I/O."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from service.domain import texts
from service.domain.errors import Reason
from service.domain.report_fields import check_https_url
from service.domain.statuses import FAILING, STATUS_CODES
from service.domain.variants import canonical_variant
from service.ingest.contract import RunIn
from service.ingest.validate_events import (
    MAX_LISTED_ERRORS,
    DatarefFound,
    EventRejection,
    Problem,
    ValidEvent,
    has_failing_status,
    parse_identity,
    validate,
)
from service.results.model import MAX_EVENT_ROWS, UNTIMED_EVENT_S, ArtifactReference
from service.runs.model import (
    NO_PART,
    NO_STATUS_EVENT_S,
    STATED_FIELDS,
    UNTRUSTED_PREFIX,
    FieldVersions,
    PartVersion,
    RunPart,
    RunState,
    Span,
    drop_stated_status,
    is_untrusted_id,
    join_spans,
    set_failures_missing,
)

MAX_BODY_BYTES: Final = 4 * 2**20

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
# The range of a database column: a time zone can move a time out of the calendar, and asyncpg reads the first
# time of the calendar as -infinity.
_FIRST_MS: Final = (datetime.min.replace(tzinfo=UTC) - EPOCH) // _MS + 1
_LAST_MS: Final = (datetime.max.replace(tzinfo=UTC) - EPOCH) // _MS
COMPLETENESS_FIELDS: Final = ("expected_shards", "expected_results", "final")
_MAX_CLOCK_SKEW: Final = timedelta(hours=24)
_TEXTS: Final = {name: field.max_length for name, field in STATED_FIELDS.items() if field.type == "text"}
_URLS: Final = [name for name, field in STATED_FIELDS.items() if field.type == "https_url"]


@dataclass(slots=True)
class ParsedEvent:
    """An event or a report that is valid except for its results. `problems` lists the results that aren't stored.

    `results` are the unvalidated results of an event. The results of a report aren't in memory together.
    `event_s` is the event time of the results. `number` is the number of the part, known when the run is locked.
    """

    organization: str
    source: str
    event_id: str
    body_sha256: bytes
    event_s: int
    state: RunState
    results: Sequence[Any] = ()
    part: RunPart = NO_PART
    number: int = 0
    problems: list[Problem] = field(default_factory=list)
    rejected_count: int = 0  # results, and reports of an upload that can't be read
    output: dict[int, list[ArtifactReference]] = field(default_factory=dict)  # of results of a report, by their index
    rejected_failing: bool = False  # whether a result that can be a failure isn't stored
    receipt_id: str | None = None  # of an uploaded report

    @property
    def variant(self) -> str:
        """The variant of the results that state none, in its canonical form."""
        return self.part.variant

    @property
    def pipeline(self) -> str | None:
        """The pipeline that the event or report states."""
        return self._stated("pipeline")

    @property
    def branch(self) -> str | None:
        """The branch that the event or report states."""
        return self._stated("branch")

    def reject(self, index: int, name: str | None, reason: str, *, failing: bool) -> None:
        """Add a problem for a result that isn't stored."""
        self.problems.append({"index": index, "name": name, "reason": reason})
        self.rejected_count += 1
        self.rejected_failing = self.rejected_failing or failing

    def add_unknown_status(self, index: int, name: str | None, reason: str) -> None:
        """Add a problem for a result that is stored as an error, and ignore a status of the run that hides it."""
        self.problems.append({"index": index, "name": name, "reason": f"{reason}; stored as error"})
        self.state = drop_stated_status(self.state)

    def list_reasons(self) -> str:
        """Return the first reasons why results aren't stored, each with the index of the result."""
        listed = self.problems[:MAX_LISTED_ERRORS]
        indexes = ("" if problem["index"] is None else f"{problem['index']}: " for problem in listed)
        return "; ".join(f"{index}{problem['reason']}" for index, problem in zip(indexes, listed, strict=True))

    def _stated(self, name: str) -> str | None:
        version = self.state.field_versions.get(name)
        return version and str(version[1])

    def to_rejected(self, reason: Reason, message: str) -> "RejectedEvent":
        """Return this event as a rejected event."""
        run = self.state.run_id, self.state.project_id
        identity = self.organization, self.source, self.event_id, *run, self.part, self.pipeline
        return RejectedEvent(reason, message, self.body_sha256, *identity)


@dataclass(slots=True)
class RejectedEvent:
    """An event that can never be stored, with the readable part of its identity."""

    reason: Reason
    message: str
    body_sha256: bytes
    organization: str | None = None
    source: str | None = None
    event_id: str | None = None
    run_id: str | None = None
    project_id: str | None = None
    part: RunPart = NO_PART
    pipeline: str | None = None


@dataclass(slots=True)
class ParsedDataref:
    """A valid event whose data is in storage. `at` is the time of the event, or None."""

    source: str
    event_id: str
    body_sha256: bytes
    at: datetime | None
    dataref: str
    organization: None = None  # follows from the path of the data

    def to_rejected(self, reason: Reason, message: str) -> RejectedEvent:
        """Return this event as a rejected event."""
        return RejectedEvent(reason, message, self.body_sha256, None, self.source, self.event_id)


@dataclass(frozen=True, slots=True)
class AcceptanceWindow:
    """The accepted ranges of `completed_at` and of the event time, relative to the time of the database."""

    now: datetime
    retention: timedelta

    def excludes(self, completed_at: datetime) -> bool:
        """Return whether the time is before the retention or more than 24 h ahead."""
        return completed_at < self.now - self.retention or self.is_ahead(completed_at)

    def is_ahead(self, time: datetime) -> bool:
        """Return whether the time is more than 24 h ahead. Such an event time would win over all later events."""
        return time > self.now + _MAX_CLOCK_SKEW


def parse_event(
    body: bytes, window: AcceptanceWindow, max_rows: int = MAX_EVENT_ROWS
) -> ParsedEvent | ParsedDataref | RejectedEvent:
    """Parse a structured-mode body. Never raises because of the content of the body.

    `max_rows` limits the results, listed attempts, and artifacts together.
    """
    digest = sha256(body).digest()
    if len(body) > MAX_BODY_BYTES:
        return RejectedEvent("too_large", f"event: must be at most {MAX_BODY_BYTES} bytes, has {len(body)}", digest)
    problems: list[Problem] = []
    try:
        valid = validate(body, problems, max_rows)
    except DatarefFound as found:
        fields = found.event
        if fields.get("time") and window.is_ahead(aware(fields["time"])):
            return _event_time_ahead(fields, digest)
        return ParsedDataref(fields["source"], fields["id"], digest, fields.get("time"), fields["dataref"])
    except EventRejection as rejection:
        return RejectedEvent(rejection.reason, str(rejection), digest, **parse_identity(rejection.event))
    return _parse_valid(valid, problems, digest, window)


def _parse_valid(
    valid: ValidEvent, problems: list[Problem], digest: bytes, window: AcceptanceWindow
) -> ParsedEvent | RejectedEvent:
    event = valid.event
    run: RunIn = event["data"]["run"]
    completed_at = aware(run.get("completed_at") or event.get("time") or window.now)
    event_at = aware(event.get("time") or completed_at)
    if window.excludes(completed_at):
        message = f"completed_at: {completed_at.isoformat()} must be within the retention and at most 24 h ahead"
        return RejectedEvent("completed_at_out_of_range", message, digest, **parse_identity(event))
    if window.is_ahead(event_at):
        return _event_time_ahead(event, digest)
    if problem := find_run_problem(run):
        return RejectedEvent("invalid", f"data.run.{problem}", digest, **parse_identity(event))
    return _parsed_event(valid, problems, digest, to_ms(completed_at), to_ms(event_at) // 1000)


def _parsed_event(
    valid: ValidEvent, problems: list[Problem], digest: bytes, completed_ms: int, event_s: int
) -> ParsedEvent:
    event, results = valid
    run: RunIn = event["data"]["run"]
    part = parse_part(run, event["data"].get("variant"))
    spans = [(to_ms(started_at), completed_ms)] if (started_at := run.get("started_at")) else ()
    return ParsedEvent(
        organization=event["data"]["organization"],
        source=event["source"],
        event_id=event["id"],
        body_sha256=digest,
        event_s=results_event_s(part, event_s),
        state=set_failures_missing(
            parse_run_state(run, part, completed_ms, event_s, problems, spans),
            is_missing=run.get("status") in FAILING and not any(map(has_failing_status, results)),
        ),
        results=results,
        part=part,
        number=part.shard,
        problems=problems,
    )


def parse_part(run: RunIn, variant: Mapping[str, str] | None) -> RunPart:
    """Return the part that an event or upload belongs to."""
    return RunPart(run.get("part") or "", canonical_variant(variant), run.get("shard") or 0, run.get("attempt") or 0)


def results_event_s(part: RunPart, event_s: int) -> int:
    """Return the event time of the results. Those of an attempt have none: its jobs don't correct each other."""
    return UNTIMED_EVENT_S if part.attempt else event_s


def find_run_problem(run: RunIn, *, can_be_untrusted: bool = False) -> str | None:
    """Return why the fields of a run are invalid together, or None. The message starts with the name of the field.

    Only the run of an uploaded report can be untrusted, because RabbitMQ users are trusted.
    """
    shard, expected = run.get("shard"), run.get("expected_shards")
    if is_untrusted_id(run["run_id"]) and not can_be_untrusted:
        return (
            f"run_id: must not begin with {UNTRUSTED_PREFIX!r}, because only uploads with a key of the role public do"
        )
    if run["run_id"] in (".", ".."):
        return "run_id: must not be '.' or '..'"
    if expected is not None and (shard is None or shard > expected):
        return f"shard: must be a number from 1 to expected_shards ({expected})"
    return _find_conflicting_fields(run)


def _event_time_ahead(event: Any, digest: bytes) -> RejectedEvent:
    message = f"time: must be at most 24 h in the future, but is {aware(event['time']).isoformat()}"
    return RejectedEvent("completed_at_out_of_range", message, digest, **parse_identity(event))


def parse_run_state(
    run: RunIn, part: RunPart, completed_ms: int, event_s: int, problems: list[Problem], spans: Iterable[Span]
) -> RunState:  # fmt: skip
    """Return the state of the run according to one event. `spans` are the times in which its part was executed.

    Failures are missing if the status declares them. The caller corrects this after it has examined the results.
    """
    expects_more = run.get("expected_results") is not None or run.get("expected_shards") is not None
    final = run.get("final")
    is_part = expects_more or final is not None or part != NO_PART
    stated = run.get("status")
    status = STATUS_CODES[stated] if stated else None
    return RunState(
        run_id=run["run_id"],
        project_id=run["project_id"],
        completed_ms=completed_ms,
        last_completed_ms=completed_ms,
        spans=join_spans((max(_FIRST_MS, min(_LAST_MS, start)), end) for start, end in spans),
        field_versions=_field_versions(run, event_s, problems),
        stated_status=None if is_part else status,
        status_event_s=NO_STATUS_EVENT_S if is_part else event_s,
        expected_results=run.get("expected_results"),
        expected_shards=run.get("expected_shards"),
        shards=frozenset({part.shard} if part.shard else ()),
        closed=final is True,
        sent_at_once=final is None and not expects_more,
        part_versions={part: PartVersion(event_s, stated in FAILING, status)},
        notify=run.get("notify") is not False,
    )


def _find_conflicting_fields(run: RunIn) -> str | None:
    """Return the error of an event that states in several ways when its run is complete, or None."""
    stated = [name for name in COMPLETENESS_FIELDS if run.get(name) is not None]
    if len(stated) < 2:
        return None
    return f"{stated[1]}: must not be combined with {stated[0]}, because each states when the run is complete"


def _field_versions(run: RunIn, event_s: int, problems: list[Problem]) -> FieldVersions:
    versions: FieldVersions = {}
    for name, limit in _TEXTS.items():
        text = run.get(name)
        if isinstance(text, str) and text:
            versions[name] = event_s, truncate(text, limit, problems, None, f"run.{name}")
    for name in _URLS:
        if url := _https_url(name, run.get(name), problems):
            versions[name] = event_s, url
    if labels := run.get("labels"):
        versions["labels"] = event_s, _limit_labels(labels, problems)
    return versions


def _https_url(name: str, url: Any, problems: list[Problem]) -> str | None:
    """Return a valid URL. Adds a problem for another text, because a truncated or replaced link would be wrong."""
    if not url:
        return None
    try:
        return check_https_url(url)
    except ValueError as error:
        problems.append({"index": None, "name": f"run.{name}", "reason": f"run.{name}: {error}; not stored"})
        return None


def _limit_labels(labels: Mapping[str, str], problems: list[Problem]) -> dict[str, str]:
    """Return the first labels within the limits, which are the same for every input. Adds a problem for the others."""
    limited: dict[str, str] = {}
    size = 0
    for name, value in labels.items():
        size += len(name) + len(value)
        if len(limited) == texts.MAX_LABELS or size > texts.MAX_LABELS_TEXT:
            break
        if len(name) <= texts.MAX_LABEL_NAME and len(value) <= texts.MAX_LABEL_VALUE:
            limited[name] = value
    if len(limited) < len(labels):
        reason = (
            f"run.labels: {len(labels) - len(limited)} labels were not stored; a run has at most {texts.MAX_LABELS} "
            f"labels with {texts.MAX_LABELS_TEXT} characters together, a name at most {texts.MAX_LABEL_NAME}, "
            f"and a value at most {texts.MAX_LABEL_VALUE} characters"
        )
        problems.append({"index": None, "name": "run.labels", "reason": reason})
    return limited


def truncate(text: str, limit: int, problems: list[Problem], index: int | None, field_name: str) -> str:
    """Return the text with at most `limit` characters. Adds a problem if it is longer."""
    if len(text) <= limit:
        return text
    problems.append({"index": index, "name": field_name, "reason": f"{field_name}: truncated to {limit} characters"})
    return text[:limit]


def to_ms(time: datetime) -> int:
    """Return integer milliseconds since 1970. A time without a zone is in UTC."""
    since = aware(time) - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000  # faster than a division


def aware(time: datetime) -> datetime:
    """Return the time with its zone, or in UTC if it has none."""
    return time if time.tzinfo else time.replace(tzinfo=UTC)
