"""The public run: its schema, and the function that writes it."""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema
from typing_extensions import TypedDict

from service.contracts.queries import BranchName, Name
from service.contracts.responses import Time, closed
from service.contracts.validation import COMMIT, RECEIPT_ID
from service.domain.statuses import Counts, RunStatus
from service.domain.timestamps import format_known_ms, format_ms
from service.runs.model import PartRow, RunDetailRow, RunRow

_COUNT_SCHEMAS: Final = {
    name: {"type": "integer", "description": f"Number of {name} results"} for name in Counts._fields
}
RunCounts = Annotated[
    dict[str, int],
    WithJsonSchema({"type": "object", "properties": _COUNT_SCHEMAS, "required": list(Counts._fields)}),
]


@closed
class Run(TypedDict):
    """A validation run."""

    id: Annotated[str, Field(description="Equal to run_id")]
    organization_id: Annotated[str, Field(description="Slug of the organization")]
    run_id: str
    project_id: str
    environment: str | None
    branch: str | None
    base_branch: Annotated[str | None, Field(description="Target branch of the pull request")]
    commit_sha: str | None
    pull_request: Annotated[str | None, Field(description="Number of the pull request")]
    ci_url: str | None
    pipeline: str | None
    title: str | None
    author: str | None
    workflow: str | None
    job_url: str | None
    repository_url: str | None
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


def write_run(run: RunRow) -> Run:
    """Return the public object of a run."""
    (
        _, organization_id, run_id, project_id, environment, branch, base_branch, commit_sha, pull_request, ci_url,
        pipeline, title, author, workflow, job_url, repository_url, labels, status, failures_missing, complete, counts,
        expected_results, expected_shards, revision, started_ms, completed_ms, last_completed_ms, duration_ms,
        results_expired, pinned, trusted,
    ) = run  # fmt: skip
    return {
        "id": run_id,
        "organization_id": organization_id,
        "run_id": run_id,
        "project_id": project_id,
        "environment": environment,
        "branch": branch,
        "base_branch": base_branch,
        "commit_sha": commit_sha,
        "pull_request": pull_request,
        "ci_url": ci_url,
        "pipeline": pipeline,
        "title": title,
        "author": author,
        "workflow": workflow,
        "job_url": job_url,
        "repository_url": repository_url,
        "labels": dict(labels),
        "status": status,
        "failures_missing": failures_missing,
        "complete": complete,
        "counts": dict(zip(Counts._fields, counts, strict=True)),
        "expected_results": expected_results,
        "expected_shards": expected_shards,
        "revision": revision,
        "started_at": format_known_ms(started_ms),
        "completed_at": format_ms(completed_ms),
        "last_completed_at": format_ms(last_completed_ms),
        "duration_ms": duration_ms,
        "results_expired": results_expired,
        "pinned": pinned,
        "trusted": trusted,
    }


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
