"""From the bytes of a run-completion event to what the domain knows of it. No I/O, no organization's rows."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import orjson
from pydantic import ValidationError

from service.contracts.run_events import REFERRING_EVENT, RUN_EVENT, ResultIn, RunIn
from service.domain import texts
from service.domain.errors import Reason
from service.domain.runs import SHARD_GIVEN_S, Described, RunFacts
from service.domain.statuses import LETTER
from service.reports.cdevents import run_data
from service.reports.errors import ReportError

RUN_COMPLETED: Final = "run.completed"
MAX_BODY_BYTES: Final = 4 * 2**20

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_AHEAD: Final = timedelta(hours=24)  # how far a producer's clock may be wrong
_LISTED: Final = 20  # how many faults of an event a message names
_DESCRIBING: Final = {
    "environment": texts.MAX_TEXT,
    "branch": texts.MAX_BRANCH,
    "commit_sha": texts.MAX_TEXT,
    "ci_url": texts.MAX_TEXT,
}

Problem = dict[str, Any]  # {"index": int | None, "name": str | None, "reason": str}, as receipts show it


@dataclass(slots=True)
class RunEvent:
    """A valid event. `results` holds the valid ones under their index; `problems` says what became of the rest."""

    organization: str
    source: str
    event_id: str
    body_sha256: bytes
    event_s: int
    facts: RunFacts
    results: list[tuple[int, ResultIn]]
    problems: list[Problem] = field(default_factory=list)
    rejected: int = 0

    def reject(self, index: int, name: str | None, reason: str) -> None:
        """Names a result that is not stored; the others are."""
        self.problems.append({"index": index, "name": name, "reason": reason})
        self.rejected += 1


@dataclass(slots=True)
class RefusedEvent:
    """An event that never can be stored, with as much of its identity as could be read."""

    reason: Reason
    message: str
    body_sha256: bytes
    organization: str | None = None
    source: str | None = None
    event_id: str | None = None
    run_id: str | None = None


@dataclass(slots=True)
class ReferringEvent:
    """A valid event whose data lies in storage. `at` is its own time, or None."""

    source: str
    event_id: str
    body_sha256: bytes
    at: datetime | None
    dataref: str
    organization: None = None  # the place of the data says whose it is


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What is accepted now: the moment of reading and how far back `completed_at` may lie."""

    now: datetime
    retention: timedelta

    def refuses(self, completed_at: datetime) -> bool:
        """Whether a run that completed then is too old to keep, or in the future."""
        return not self.now - self.retention <= completed_at <= self.now + _AHEAD


def read_event(body: bytes, accept: Acceptance) -> RunEvent | ReferringEvent | RefusedEvent:
    """The event in a structured-mode body. Never raises for what is in it."""
    digest = sha256(body).digest()
    if len(body) > MAX_BODY_BYTES:
        return RefusedEvent("too_large", f"the event has {len(body)} bytes; at most {MAX_BODY_BYTES} go inline", digest)
    problems: list[Problem] = []
    try:
        event, indexes = _validate(body, problems)
    except _Referral as referral:
        said = referral.event
        return ReferringEvent(said["source"], said["id"], digest, said.get("time"), said["dataref"])
    except _Refusal as refusal:
        return RefusedEvent(refusal.reason, str(refusal), digest, **_identity(refusal.event))
    return _accepted(event, indexes, problems, digest, accept)


def _accepted(
    event: Any, indexes: list[int] | None, problems: list[Problem], digest: bytes, accept: Acceptance
) -> RunEvent | RefusedEvent:
    run: RunIn = event["data"]["run"]
    completed_at = aware(run.get("completed_at") or event.get("time") or accept.now)
    event_at = aware(event.get("time") or completed_at)
    if accept.refuses(completed_at):
        message = f"completed_at: {completed_at.isoformat()} is beyond the retention or more than 24 h ahead"
        return RefusedEvent("completed_at_out_of_range", message, digest, **_identity(event))
    if run["run_id"] in (".", ".."):
        return RefusedEvent("invalid", "data.run.run_id: must not be a dot path", digest, **_identity(event))
    results: list[ResultIn] = event["data"].get("results", [])
    if indexes == [] and problems:
        message = "no result is valid: " + "; ".join(f"{p['index']}: {p['reason']}" for p in problems[:_LISTED])
        return RefusedEvent("no_valid_result", message, digest, **_identity(event))
    event_s = to_ms(event_at) // 1000
    return RunEvent(
        organization=event["data"]["organization"],
        source=event["source"],
        event_id=event["id"],
        body_sha256=digest,
        event_s=event_s,
        facts=run_facts(event, run, to_ms(completed_at), event_s, problems),
        results=list(zip(indexes, results, strict=True)) if indexes is not None else list(enumerate(results)),
        problems=problems,
        rejected=sum(problem["index"] is not None for problem in problems),
    )


def run_facts(event: Any, run: RunIn, completed_ms: int, event_s: int, problems: list[Problem]) -> RunFacts:
    """What an event, of which only `source` and `id` are read, says of its run."""
    announced = run.get("expected_results") is not None or run.get("expected_shards") is not None
    status = run.get("status")
    started_at = run.get("started_at")
    return RunFacts(
        run_id=run["run_id"],
        project_id=run["project_id"],
        completed_ms=completed_ms,
        last_completed_ms=completed_ms,
        started_ms=to_ms(aware(started_at)) if started_at else None,
        described=_described(run, event_s, problems),
        given_status=LETTER[status] if status else None,
        given_s=SHARD_GIVEN_S if announced else event_s,
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


def _described(run: RunIn, event_s: int, problems: list[Problem]) -> Described:
    said: Described = {}
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
    """Whole milliseconds since 1970; a time without a zone is UTC."""
    return (aware(moment) - _EPOCH) // _MS


class _Refusal(Exception):
    def __init__(self, reason: Reason, message: str, event: Any = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.event = event


class _Referral(Exception):
    def __init__(self, event: Any) -> None:
        super().__init__("the data lies elsewhere")
        self.event = event


def _validate(body: bytes, problems: list[Problem]) -> tuple[Any, list[int] | None]:
    """The validated event and, where some results are invalid, the indexes of the others."""
    if b"\\u0000" not in body:
        try:
            return RUN_EVENT.validate_json(body), None
        except ValidationError:
            pass  # the slow way below says what is wrong, and saves what is right
    event = _native(_parse(body))
    if isinstance(event, dict) and event.get("data") is None and "dataref" in event:
        _refer(event)
    cleaned = texts.replace_unstorable(event)
    if cleaned != event:
        problems.append({"index": None, "name": None, "reason": "NUL or lone surrogates replaced by U+FFFD"})
    return _validate_leniently(cleaned, problems)


def _parse(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        problem = str(error)
    try:
        return json.loads(body)  # takes lone surrogates and NaN, which are dealt with one by one
    except (ValueError, RecursionError):
        raise _Refusal("not_json", f"not JSON: {problem}") from None


def _refer(event: Any) -> None:
    try:
        raise _Referral(REFERRING_EVENT.validate_python(texts.replace_unstorable(event)))
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)[:_LISTED]
        raise _Refusal("invalid", "; ".join(f"{_path(one['loc'])}: {one['msg']}" for one in faults), event) from None


def _native(event: Any) -> Any:
    """The event, with a CDEvent of a finished test run in the words of our own."""
    data = event.get("data") if isinstance(event, dict) else None
    if not isinstance(data, dict) or "run" in data or not {"context", "subject"} <= data.keys():
        return event
    try:
        return {**event, "type": RUN_COMPLETED, "data": run_data(data)}
    except ReportError as error:
        raise _Refusal("invalid", f"data: {error}", event) from None


def _validate_leniently(event: Any, problems: list[Problem]) -> tuple[Any, list[int] | None]:
    faults = _faults(event)
    if not faults:
        return RUN_EVENT.validate_python(event), None
    outside = [fault for fault in faults if fault[0] is None]
    if outside:
        raise _Refusal("invalid", "; ".join(text for _, text in outside[:_LISTED]), event)
    results = event["data"]["results"]
    reasons: dict[int, str] = {}
    for index, text in faults:
        reasons.setdefault(index or 0, text)
    for index, reason in reasons.items():
        problems.append({"index": index, "name": name_of(results[index]), "reason": reason})
    indexes = [index for index in range(len(results)) if index not in reasons]
    event["data"]["results"] = [results[index] for index in indexes]
    return RUN_EVENT.validate_python(event), indexes


def _faults(event: Any) -> list[tuple[int | None, str]]:
    """What is wrong, each with the index of the result it is wrong in, or None where it is outside of any."""
    try:
        RUN_EVENT.validate_python(event)
    except ValidationError as error:
        return [_fault(entry["loc"], entry["msg"]) for entry in error.errors(include_url=False, include_input=False)]
    return []


def _fault(loc: tuple[int | str, ...], message: str) -> tuple[int | None, str]:
    match loc:
        case ("data", "results", int() as index, *rest):
            return index, f"{_path(rest) or 'result'}: {message}"
        case _:
            return None, f"{_path(loc) or 'event'}: {message}"


def _path(loc: Any) -> str:
    return ".".join(str(part) for part in loc)


def name_of(result: Any) -> str | None:
    """How a receipt names a result, valid or not."""
    name = result.get("name") if isinstance(result, dict) else None
    return name[: texts.MAX_TEXT] if isinstance(name, str) else None


def _identity(event: Any) -> dict[str, str | None]:
    """As much of the identity as is there and has the right form."""
    data = event.get("data") if isinstance(event, dict) else None
    run = data.get("run") if isinstance(data, dict) else None
    return {
        "organization": _text(data, "organization"),
        "source": _text(event, "source", 400),
        "event_id": _text(event, "id"),
        "run_id": _text(run, "run_id"),
    }


def _text(source: Any, name: str, limit: int = 200) -> str | None:
    value = source.get(name) if isinstance(source, dict) else None
    return value if isinstance(value, str) and 0 < len(value) <= limit else None


def aware(moment: datetime) -> datetime:
    """The moment, in UTC where it names no zone."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
