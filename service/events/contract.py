"""Published events as webhooks, the live stream, and the event list show them: one envelope around one object."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Generic, Literal, TypeVar, cast
from urllib.parse import quote

import orjson
from pydantic import Field
from typing_extensions import TypedDict

from service.cases.contract import CaseIdentity, write_identity
from service.cases.model import Case
from service.comparison.model import FailingCaseRow
from service.contracts.queries import EventPosition, Name, PageQuery, Query
from service.contracts.responses import Time, closed
from service.domain.ids import CaseKey, case_public_id, result_id
from service.domain.statuses import StateValue
from service.domain.timestamps import format_time
from service.events.model import MAX_OBJECT_BYTES, EventSubject, EventType
from service.exports.contract import Export
from service.gates.contract import Decision
from service.quarantines.contract import Quarantine
from service.runs.contract import Run, RunContext, write_run
from service.runs.model import CONTEXT_FIELDS, RunRow
from service.states.contract import StateObject, write_state
from service.states.model import ShownState

MAX_FAILING_CASES: Final = 20
MAX_GROUP_CASES: Final = 20
_MAX_TEXT: Final = 200  # characters of a name or a commit
# The optional texts of a run that an event omits if it would be too large, in this order. The rest of the context is
# first.
_OMITTED_LAST: Final = ("workflow", "title", "author", "pipeline", "base_branch", "branch", "commit_sha")
_OMITTED_TEXTS: Final = (*(name for name in CONTEXT_FIELDS if name not in _OMITTED_LAST), *_OMITTED_LAST)

T = TypeVar("T")


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


class FailingCase(TypedDict):
    """A result of the run that failed. `id` and `case` link to the full result and case. Long texts are truncated."""

    id: str
    case: str
    case_id: str | None
    variant: dict[str, str]
    suite: str
    name: str
    file: str | None
    status: str
    failure_summary: str | None


class RunLinks(TypedDict):
    """URLs of the run, its results, its page in the console, and the CI job."""

    run: str
    results: str
    console: str
    ci: str | None


class _RunObjectIdentity(TypedDict):
    id: str
    organization_id: str
    run_id: str
    project_id: str
    environment: str | None
    branch: str | None
    base_branch: str | None
    pull_request: str | None
    commit_sha: str | None


class RunObject(_RunObjectIdentity, RunContext):
    """A run at the time of the event. Later events of the same run have a higher `revision`.

    `id` equals `run_id`, and `organization_id` is the slug of the organization.
    """

    labels: dict[str, str]
    status: str
    failures_missing: bool
    complete: bool
    counts: dict[str, int]
    revision: int
    started_at: str | None
    completed_at: str
    duration_ms: int | None
    failing_cases: list[FailingCase]
    truncated: bool
    links: RunLinks


_SHARED_MEMBERS: Final = [name for name in RunObject.__annotations__ if name in Run.__annotations__]


class CaseObject(CaseIdentity):
    """A case whose state changed: the state after the change, and the value of the previous one."""

    state: StateObject
    previous_state: Annotated[StateValue, Field(description="Value of the state before the change")]


class GroupCase(TypedDict):
    """A case of a failure group. `id` and `case` link to its result and to the case. Long texts are truncated."""

    id: str
    case: str
    suite: str
    name: str
    file: str | None
    owners: list[str]


class GroupLinks(TypedDict):
    """URLs of the failure group, its newest result, both of their pages in the console, and the CI job.

    Those of a result that was deleted are null.
    """

    failure_group: str
    result: str | None
    console: str
    console_result: str | None
    ci: str | None


class FailureGroupObject(TypedDict):
    """A failure group on the default branch: what a ticket needs. `id` stays the same when the group fails again.

    `opened_run_id` is the first run that failed since the group was last resolved, `last_run_id` the newest run that
    failed, and `commit_sha` and `last_good_commit` are the commits of the first one and of the newest run before it.
    The cases are those that failed in the newest run. `resolved_run_id` is null if the failures were deleted.
    """

    id: str
    project_id: str
    state: Literal["open", "resolved"]
    type: str | None
    message: str | None
    branch: str
    opened_at: datetime
    opened_run_id: str
    last_run_id: str
    resolved_at: datetime | None
    resolved_run_id: str | None
    commit_sha: str | None
    last_good_commit: str | None
    repository_url: str | None
    case_count: int
    cases: Annotated[list[GroupCase], Field(description="The first cases, at most 20")]
    owners: Annotated[list[str], Field(description="The owners with the most cases, at most 10")]
    ticket_url: str | None
    links: GroupLinks


class DigestWeek(TypedDict):
    """The sums of one week. Those of results are null if a day isn't rolled up yet."""

    runs: Annotated[int, Field(description="Trusted runs of the project that completed, also with an owner")]
    failed_runs: int
    results: int | None
    duration_ms: int | None
    retry_duration_ms: int | None
    opened: Annotated[int, Field(description="Events of failure groups that failed first, or again")]
    resolved: int


class DigestCase(TypedDict):
    """A case with its total duration in the week."""

    case: str
    suite: str
    name: str
    duration_ms: int
    console: str


class DigestGroup(TypedDict):
    """An open failure group."""

    id: str
    message: str | None
    case_count: int
    opened_at: datetime
    console: str


class DigestObject(TypedDict):
    """The week of a project, or of the cases of one owner in it, from Monday to Sunday in UTC."""

    project_id: str
    owner: Annotated[str | None, Field(description="Owner of the cases, which only the numbers of runs include all of")]
    week: Annotated[str, Field(examples=["2026-W48"], description="ISO week")]
    current: Annotated[DigestWeek, Field(description="The week")]
    previous: Annotated[DigestWeek, Field(description="The week before")]
    broken: int
    flaky: int
    quarantined: int
    open_groups: Annotated[
        list[DigestGroup], Field(description="The first 10, those with the most cases first; fewer if they are large")
    ]
    open_group_count: int
    longest: Annotated[list[DigestCase], Field(description="The 5 cases with the longest total duration")]
    console: str


class DisabledWebhookObject(TypedDict):
    """A webhook that was disabled because its endpoint failed for days or responded with 410 Gone.

    The URL isn't included: it can be a credential, and every viewer and other endpoint receives the event.
    """

    webhook_id: str
    description: str
    reason: str
    failing_since: str | None


class WebhookTestObject(TypedDict):
    """The object of a test delivery."""

    webhook_id: str
    message: str


class EventPayload(TypedDict, Generic[T]):
    """The subject of an event at the time of the event."""

    object: T


class EventEnvelope(TypedDict, Generic[T]):
    """An event in webhooks, the live stream, and the event list. All deliveries of an event have the same `id`."""

    id: str
    type: str
    created: datetime
    data: EventPayload[T]


# The shape of the events of each subject; the AsyncAPI document is generated from it.
ENVELOPES: Final[Mapping[EventSubject, Any]] = {
    "run": EventEnvelope[RunObject],
    "export": EventEnvelope[Export],
    "webhook": EventEnvelope[DisabledWebhookObject],
    "quarantine": EventEnvelope[Quarantine],
    "decision": EventEnvelope[Decision],
    "case": EventEnvelope[CaseObject],
    "failure_group": EventEnvelope[FailureGroupObject],
    "digest": EventEnvelope[DigestObject],
}


def write_run_object(run: RunRow, failing: Sequence[FailingCaseRow], link_base: str) -> RunObject:
    """Return the object of the events of a run: members of the public run, failing cases, and links."""
    shared: dict[str, object] = dict(write_run(run))
    shared["commit_sha"] = (run.commit_sha or "")[:_MAX_TEXT] or None
    quoted_run_id = quote(run.run_id, safe="")
    links: RunLinks = {
        "run": f"{link_base}/v1/runs/{quoted_run_id}",
        "results": f"{link_base}/v1/results?run_id={quoted_run_id}",
        "console": f"{link_base}/console/runs/{quoted_run_id}",
        "ci": run.ci_url,
    }
    own = {
        "failing_cases": list(map(_write_failing_case, failing)),
        "truncated": run.counts.failed + run.counts.error > len(failing),
        "links": links,
    }
    return cast("RunObject", {name: shared[name] for name in _SHARED_MEMBERS} | own)


def _write_failing_case(case: FailingCaseRow) -> FailingCase:
    return {
        "id": result_id(case.run_key, case.case_key),
        "case": case_public_id(case.case_key),
        "case_id": case.case_id,
        "variant": dict(case.variant),
        "suite": case.suite[:_MAX_TEXT],
        "name": case.name[:_MAX_TEXT],
        "file": case.file and case.file[:_MAX_TEXT],
        "status": case.status,
        "failure_summary": case.failure_summary,
    }


def write_case_object(key: CaseKey, case: Case, state: ShownState, previous: StateValue) -> CaseObject:
    """Return the object of the events of a case."""
    identity = write_identity(key, case, orjson.loads(case.variant or "{}"))
    return {**identity, "state": write_state(state), "previous_state": previous}


def group_json(group: FailureGroupObject) -> str:
    """Return the failure group as JSON of at most `MAX_OBJECT_BYTES`: cases are removed from the end if it's larger."""
    encoded = orjson.dumps(group)
    while len(encoded) > MAX_OBJECT_BYTES and group["cases"]:
        group = {**group, "cases": group["cases"][: len(group["cases"]) // 2]}
        encoded = orjson.dumps(group)
    return encoded.decode()


def digest_json(digest: DigestObject) -> str:
    """Return the digest as JSON of at most `MAX_OBJECT_BYTES`: open groups are removed from the end if it's larger."""
    while len(encoded := orjson.dumps(digest)) > MAX_OBJECT_BYTES and digest["open_groups"]:
        digest = {**digest, "open_groups": digest["open_groups"][:-1]}
    return encoded.decode()


def run_json(run: RunObject) -> str:
    """Return the run as JSON of at most `MAX_OBJECT_BYTES`.

    If it's larger, failing cases are removed from the end, then the labels, and then optional texts.
    """
    encoded = orjson.dumps(run)
    while len(encoded) > MAX_OBJECT_BYTES and (removed := _next_removal(run)):
        encoded = orjson.dumps(run := cast("RunObject", {**run, "truncated": True, **removed}))
    return encoded.decode()


def _next_removal(run: RunObject) -> dict[str, Any] | None:
    """Return the next members to replace so that the object becomes smaller, or None if none is left."""
    if cases := run["failing_cases"]:
        return {"failing_cases": cases[: len(cases) // 2]}
    if run["labels"]:
        return {"labels": {}}
    if run["links"]["ci"]:
        return {"links": {**run["links"], "ci": None}}
    members: dict[str, Any] = dict(run)
    return next(({name: None} for name in _OMITTED_TEXTS if members[name]), None)


def envelope(event_id: str, event_type: str, created_at: datetime, data: str) -> bytes:
    """Return the envelope that every receiver gets. `data` is the JSON of the object and is included unchanged."""
    return orjson.dumps(
        {
            "id": event_id,
            "type": event_type,
            "created": format_time(created_at),
            "data": {"object": orjson.Fragment(data)},
        }
    )


AnyEventType = Literal[EventType, "webhook.test"]  # not a union, whose members would be in the location of an error


class EventFilters(Query):
    """The filters of events."""

    type: list[AnyEventType] = Field([], description="Type. Repeat it to match any of several")
    run_id: Name | None = None
    after: Annotated[EventPosition | None, Field(description="Position or ID of the last event that you received")] = (
        None
    )

    @property
    def types(self) -> tuple[str, ...]:
        """The types, sorted, so that their order doesn't change the cursor."""
        return tuple(sorted(set(self.type)))


class EventQuery(EventFilters, PageQuery):
    """A page of the list of events."""


class StreamQuery(EventFilters):
    """The live stream."""

    after: Annotated[
        EventPosition | None,
        Field(description="Position of the last event that you received (its `id` in the stream), or its ID"),
    ] = None
