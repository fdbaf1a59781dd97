"""The public result: its schema, and the function that writes it for lists, histories, comparisons, and one result."""

from typing import Annotated

from pydantic import Field, StringConstraints
from typing_extensions import TypedDict

from service.contracts.responses import Time, closed
from service.domain.ids import fingerprint_id, key_digits
from service.domain.statuses import ResultStatus
from service.domain.timestamps import format_known_ms, format_ms
from service.results.rows import AttemptRow, FailureRow, ResultDetailRow, ResultRow
from service.runs.contract import Run, write_run


@closed
class Result(TypedDict):
    """The outcome of one case in one run."""

    id: Annotated[str, StringConstraints(pattern=r"^res_[0-9a-f]{48}$")]
    run_id: str
    project_id: str
    environment: str | None
    branch: str | None
    commit_sha: str | None
    case: Annotated[str, StringConstraints(pattern=r"^case_[0-9a-f]{16}$")]
    case_id: Annotated[str | None, Field(description="The producer's own ID of the case")]
    variant: Annotated[dict[str, str], Field(description="Distinguishes executions of the same test in a matrix")]
    suite: str
    name: str
    file: str | None
    status: ResultStatus
    flaky: Annotated[bool, Field(description="Passed after at least one failing attempt")]
    attempts: int
    duration_ms: Annotated[int | None, Field(description="Null if the producer states no duration")]
    started_at: Time | None
    completed_at: Annotated[Time, Field(description="Completion time of the run")]
    failure_summary: Annotated[
        str | None,
        Field(
            description="First informative line of the failure; for a flaky result, that of its last failing attempt"
        ),
    ]
    fingerprint: Annotated[str | None, Field(description="Failure group; null if the result isn't failing")]
    trusted: Annotated[bool, Field(description="Whether the run is trusted")]


@closed
class FailureDetail(TypedDict):
    """The failure that a non-passing attempt reported."""

    type: str | None
    message: str | None
    details: str | None


@closed
class AttemptDetail(TypedDict):
    """One execution of the case in the run."""

    attempt: int
    status: ResultStatus
    duration_ms: int | None
    started_at: Time | None
    failure: FailureDetail | None
    logs_ref: str | None
    job_attempt: Annotated[
        int | None,
        Field(
            description="Attempt of the CI job, from 1: its rank among the attempts of its part; null if none is stated"
        ),
    ]


@closed
class ResultDetail(Result):
    """A result with its attempts, failure, and run. A flaky result has the failure of its last failing attempt."""

    line: Annotated[int | None, Field(description="Line of the case in its file; null if it passed without properties")]
    properties: Annotated[dict[str, str], Field(description="Named values that the producer added to the result")]
    logs_ref: str | None
    failure: FailureDetail | None
    part: Annotated[
        str | None, Field(description="CI job that executed the attempts; null if the upload or event named none")
    ]
    attempt_details: list[AttemptDetail]
    run: Run
    artifacts_url: str


def write_result(result: ResultRow) -> Result:
    """Return the public object of a result."""
    (
        run, case_key, case_id, variant, suite, name, file, status, flaky, attempts, duration_ms, started, summary,
        fingerprint,
    ) = result  # fmt: skip
    digits = key_digits(case_key)
    return {
        "id": f"res_{run.run_key.hex}{digits}",  # like ResultRow.id, which needs twice as long
        "run_id": run.run_id,
        "project_id": run.project_id,
        "environment": run.environment,
        "branch": run.branch,
        "commit_sha": run.commit_sha,
        "case": f"case_{digits}",
        "case_id": case_id,
        "variant": dict(variant),
        "suite": suite,
        "name": name,
        "file": file,
        "status": status,
        "flaky": flaky,
        "attempts": attempts,
        "duration_ms": duration_ms,
        "started_at": None if started is None else format_ms(started),
        "completed_at": run.completed_at,
        "failure_summary": summary,
        "fingerprint": None if fingerprint is None else fingerprint_id(fingerprint),
        "trusted": run.trusted,
    }


def write_result_detail(detail: ResultDetailRow, link_base: str) -> ResultDetail:
    """Return the public object of a result with its attempts, failure, and run."""
    return {
        **write_result(detail.result),
        "line": detail.line,
        "properties": dict(detail.properties),
        "logs_ref": detail.logs_ref,
        "failure": _write_failure(detail.failure),
        "part": detail.part,
        "attempt_details": [_write_attempt(attempt) for attempt in detail.attempts],
        "run": write_run(detail.run),
        "artifacts_url": f"{link_base}/v1/results/{detail.result.id}/artifacts",
    }


def _write_failure(failure: FailureRow | None) -> FailureDetail | None:
    if failure is None:
        return None
    return {"type": failure.type, "message": failure.message, "details": failure.details}


def _write_attempt(attempt: AttemptRow) -> AttemptDetail:
    return {
        "attempt": attempt.attempt,
        "status": attempt.status,
        "duration_ms": attempt.duration_ms,
        "started_at": format_known_ms(attempt.started_ms),
        "failure": _write_failure(attempt.failure),
        "logs_ref": attempt.logs_ref,
        "job_attempt": attempt.job_attempt,
    }
