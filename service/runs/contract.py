"""The public run: its schema, and the function that writes it."""

from typing import Annotated, Any, Final, cast

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema
from typing_extensions import TypedDict

from service.contracts.queries import BranchName, Name
from service.contracts.responses import Time, closed
from service.contracts.validation import COMMIT, RECEIPT_ID
from service.domain.statuses import Counts, RunStatus
from service.domain.timestamps import format_known_ms, format_ms
from service.runs.model import STATED_FIELDS, PartRow, RunDetailRow, RunRow

_COUNT_SCHEMAS: Final = {
    name: {"type": "integer", "description": f"Number of {name} results"} for name in Counts._fields
}
RunCounts = Annotated[
    dict[str, int],
    WithJsonSchema({"type": "object", "properties": _COUNT_SCHEMAS, "required": list(Counts._fields)}),
]


class RunContext(TypedDict):
    """The context of a run, for Run and for the object of events."""

    pipeline: str | None
    title: str | None
    author: str | None
    workflow: str | None
    job_url: str | None
    repository_url: str | None


class _RunIdentity(TypedDict):
    id: Annotated[str, Field(description="Equal to run_id")]
    organization_id: Annotated[str, Field(description="Slug of the organization")]
    run_id: str
    project_id: str
    environment: str | None
    branch: str | None
    base_branch: Annotated[str | None, Field(description=STATED_FIELDS["base_branch"].description)]
    commit_sha: str | None
    pull_request: Annotated[str | None, Field(description=STATED_FIELDS["pull_request"].description)]
    ci_url: str | None


@closed
class Run(_RunIdentity, RunContext):
    """A validation run."""

    labels: dict[str, str]
    status: RunStatus
    failures_missing: Annotated[
        bool,
        Field(
            description="A report can't be read, or declares failing tests that it doesn't contain: the run is an error"
        ),
    ]
    complete: Annotated[bool, Field(description="All expected results and shards have arrived")]
    counts: RunCounts
    expected_results: int | None
    expected_shards: int | None
    revision: Annotated[int, Field(description="Incremented by every change of the run")]
    started_at: Time | None
    completed_at: Annotated[Time, Field(description="Completion time in the first event of the run; never changes")]
    last_completed_at: Time
    duration_ms: int | None
    results_expired: Annotated[
        bool, Field(description="The results are older than the retention and have been deleted")
    ]
    pinned: Annotated[bool, Field(description="The retention doesn't delete the run, its results, or its artifacts")]
    trusted: Annotated[bool, Field(description="Not sent by a fork with a public key, or promoted since")]


@closed
class Part(TypedDict):
    """A part of a run, such as a CI job, whose upload or event was accepted."""

    part: Annotated[str | None, Field(description="Name of the CI job, or null if none is stated")]
    variant: Annotated[dict[str, str], Field(description="Variant of the upload or event")]
    shard: Annotated[int | None, Field(description="Number of the shard, or null if none is stated")]
    attempt: Annotated[
        int | None,
        Field(description="Rank of the highest attempt, so that 2 means a second attempt; null if none is stated"),
    ]


@closed
class RunDetail(Run):
    """A run with its parts. A run that an earlier version stored has none."""

    parts: Annotated[list[Part], Field(description="What CI jobs have sent, each with its highest attempt")]


# Those of RunRow in the same order, except that `id` replaces `run_key` and times replace ms.
_MEMBERS: Final = tuple(Run.__annotations__)


def write_run(run: RunRow) -> Run:
    """Return the public object of a run."""
    public: dict[str, Any] = dict(zip(_MEMBERS, run, strict=True))
    public["id"] = run.run_id
    public["labels"] = dict(run.labels)
    public["counts"] = dict(zip(Counts._fields, run.counts, strict=True))
    public["started_at"] = format_known_ms(run.started_ms)
    public["completed_at"] = format_ms(run.completed_ms)
    public["last_completed_at"] = format_ms(run.last_completed_ms)
    return cast("Run", public)


def write_run_detail(detail: RunDetailRow) -> RunDetail:
    """Return the public object of a run with its parts."""
    return {**write_run(detail.run), "parts": [_write_part(part) for part in detail.parts]}


def _write_part(part: PartRow) -> Part:
    return {"part": part.part, "variant": dict(part.variant), "shard": part.shard, "attempt": part.attempt}


MAX_RECEIPTS: Final = 1_000  # of a promotion

_Commit = Annotated[str, StringConstraints(pattern=COMMIT)]


class PromotionRequest(BaseModel):
    """What the trusted job knows about the run, independently of the run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    commit_sha: Annotated[_Commit, Field(description="Complete hash of the commit, which each report must state")]
    receipts: list[Annotated[str, StringConstraints(pattern=RECEIPT_ID)]] = Field(
        min_length=1,
        max_length=MAX_RECEIPTS,
        description="Receipts of the reports that the CI job of the fork has sent. Everything that other uploads have"
        " added to the run is deleted. 409 if the run has no report with such a receipt, or if it was rejected",
    )
    pull_request: Annotated[
        Name | None, Field(description="Number of the pull request; default: the one that the reports state")
    ] = None
    base_branch: Annotated[
        BranchName | None,
        Field(
            description="Target branch of the pull request; default: the default branch of the project, and never the"
            " one that a report states"
        ),
    ] = None
    revision: Annotated[
        int | None,
        Field(
            ge=1,
            description="Revision of the run that was reviewed; 409 if the run has a lower one, because it was"
            " deleted and sent again, or if one of the reports isn't stored yet. Later uploads don't matter: the"
            " promotion deletes what they have added",
        ),
    ] = None
