"""From the bytes of a run-completion event to what the domain knows of it. No I/O, no organization's rows."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from service.contracts.run_events import ResultIn, RunIn
from service.domain import texts
from service.domain.errors import Reason
from service.domain.runs import SHARD_STATUS_EVENT_S, FieldVersions, RunState
from service.domain.statuses import STATUS_CODES
from service.usecases.ingest.validate_events import LISTED, DatarefFound, EventRejection, Problem, identity_of, validate

MAX_BODY_BYTES: Final = 4 * 2**20

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
# What a column of ours can hold: a zone may lead out of the calendar, and its first moment is an infinity to asyncpg.
_FIRST_MS: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MS + 1
_LAST_MS: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MS
_AHEAD: Final = timedelta(hours=24)  # how far a producer's clock may be wrong
_DESCRIBING: Final = {
    "environment": texts.MAX_TEXT,
    "branch": texts.MAX_BRANCH,
    "commit_sha": texts.MAX_TEXT,
    "ci_url": texts.MAX_TEXT,
}


@dataclass(slots=True)
class ParsedEvent:
    """A valid event. `results` holds the valid ones under their index; `problems` says what became of the rest."""

    organization: str
    source: str
    event_id: str
    body_sha256: bytes
    event_s: int
    state: RunState
    results: list[tuple[int, ResultIn]]
    problems: list[Problem] = field(default_factory=list)
    rejected: int = 0

    def reject(self, index: int, name: str | None, reason: str) -> None:
        """Names a result that is not stored; the others are."""
        self.problems.append({"index": index, "name": name, "reason": reason})
        self.rejected += 1

    def refused(self, reason: Reason, message: str) -> "RejectedEvent":
        """The same event where it can't be stored after all."""
        identity = self.organization, self.source, self.event_id, self.state.run_id
        return RejectedEvent(reason, message, self.body_sha256, *identity)


@dataclass(slots=True)
class RejectedEvent:
    """An event that never can be stored, with as much of its identity as could be read."""

    reason: Reason
    message: str
    body_sha256: bytes
    organization: str | None = None
    source: str | None = None
    event_id: str | None = None
    run_id: str | None = None


@dataclass(slots=True)
class ParsedDataref:
    """A valid event whose data lies in storage. `at` is its own time, or None."""

    source: str
    event_id: str
    body_sha256: bytes
    at: datetime | None
    dataref: str
    organization: None = None  # the place of the data says whose it is


@dataclass(frozen=True, slots=True)
class AcceptanceWindow:
    """What is accepted now: the moment of reading and how far back `completed_at` may lie."""

    now: datetime
    retention: timedelta

    def excludes(self, completed_at: datetime) -> bool:
        """Whether a run that completed then is too old to keep, or in the future."""
        return not self.now - self.retention <= completed_at <= self.now + _AHEAD


def parse_event(body: bytes, accept: AcceptanceWindow) -> ParsedEvent | ParsedDataref | RejectedEvent:
    """The event in a structured-mode body. Never raises for what is in it."""
    digest = sha256(body).digest()
    if len(body) > MAX_BODY_BYTES:
        return RejectedEvent("too_large", f"event: must be at most {MAX_BODY_BYTES} bytes", digest)
    problems: list[Problem] = []
    try:
        event, indexes = validate(body, problems)
    except DatarefFound as referral:
        said = referral.event
        return ParsedDataref(said["source"], said["id"], digest, said.get("time"), said["dataref"])
    except EventRejection as refusal:
        return RejectedEvent(refusal.reason, str(refusal), digest, **identity_of(refusal.event))
    return _accepted(event, indexes, problems, digest, accept)


def _accepted(
    event: Any, indexes: list[int] | None, problems: list[Problem], digest: bytes, accept: AcceptanceWindow
) -> ParsedEvent | RejectedEvent:
    run: RunIn = event["data"]["run"]
    completed_at = aware(run.get("completed_at") or event.get("time") or accept.now)
    event_at = aware(event.get("time") or completed_at)
    if accept.excludes(completed_at):
        message = f"completed_at: {completed_at.isoformat()} is beyond the retention or more than 24 h ahead"
        return RejectedEvent("completed_at_out_of_range", message, digest, **identity_of(event))
    if run["run_id"] in (".", ".."):
        return RejectedEvent("invalid", "data.run.run_id: must not be a dot path", digest, **identity_of(event))
    results: list[ResultIn] = event["data"].get("results", [])
    if indexes == [] and problems:
        message = "no result is valid: " + "; ".join(f"{p['index']}: {p['reason']}" for p in problems[:LISTED])
        return RejectedEvent("no_valid_result", message, digest, **identity_of(event))
    event_s = to_ms(event_at) // 1000
    return ParsedEvent(
        organization=event["data"]["organization"],
        source=event["source"],
        event_id=event["id"],
        body_sha256=digest,
        event_s=event_s,
        state=parse_run_state(event, run, to_ms(completed_at), event_s, problems),
        results=list(zip(indexes, results, strict=True)) if indexes is not None else list(enumerate(results)),
        problems=problems,
        rejected=sum(problem["index"] is not None for problem in problems),
    )


def parse_run_state(event: Any, run: RunIn, completed_ms: int, event_s: int, problems: list[Problem]) -> RunState:
    """What an event, of which only `source` and `id` are read, says of its run."""
    announced = run.get("expected_results") is not None or run.get("expected_shards") is not None
    status = run.get("status")
    started_at = run.get("started_at")
    return RunState(
        run_id=run["run_id"],
        project_id=run["project_id"],
        completed_ms=completed_ms,
        last_completed_ms=completed_ms,
        started_ms=max(_FIRST_MS, min(_LAST_MS, to_ms(started_at))) if started_at else None,
        field_versions=_field_versions(run, event_s, problems),
        stated_status=STATUS_CODES[status] if status else None,
        status_event_s=SHARD_STATUS_EVENT_S if announced else event_s,
        expected_results=run.get("expected_results"),
        expected_shards=run.get("expected_shards"),
        shards=_shards(event, run),
        complete=not announced,
    )


def _shards(event: Any, run: RunIn) -> frozenset[str]:
    if run.get("expected_shards") is None:
        return frozenset()
    shard = run.get("shard")
    return frozenset({str(shard) if shard is not None else f"{event['source']} {event['id']}"})


def _field_versions(run: RunIn, event_s: int, problems: list[Problem]) -> FieldVersions:
    said: FieldVersions = {}
    for name, limit in _DESCRIBING.items():
        text = run.get(name)
        if isinstance(text, str) and text:
            said[name] = event_s, cut(text, limit, problems, None, f"run.{name}")
    if run.get("labels"):
        said["labels"] = event_s, run["labels"]
    return said


def cut(text: str, limit: int, problems: list[Problem], index: int | None, what: str) -> str:
    """The text, no longer than the limit; a cut leaves a note in the receipt."""
    if len(text) <= limit:
        return text
    problems.append({"index": index, "name": what, "reason": f"{what}: cut at {limit} characters"})
    return text[:limit]


def to_ms(moment: datetime) -> int:
    """WholeNumber milliseconds since 1970; a time without a zone is UTC."""
    return (aware(moment) - _EPOCH) // _MS


def aware(moment: datetime) -> datetime:
    """The moment, in UTC where it names no zone."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
