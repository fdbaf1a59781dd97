"""The rows of the read side: objects as the store returns them, for every list, detail, event, and page.

Times are in ms since 1970. Statuses are names. A field has the name of the member of the public object if both have the
same value.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from service.domain.ids import CaseKey, Fingerprint, RunKey, case_public_id, fingerprint_id, result_id
from service.domain.receipts import ReceiptStatus
from service.domain.statuses import Counts, ResultStatus, RunStatus


class RunOfResults(NamedTuple):
    """The fields of a run that its results have. `completed_at` is the text of `completed_ms`."""

    run_key: RunKey
    run_id: str
    project_id: str
    environment: str | None
    branch: str | None
    commit_sha: str | None
    completed_ms: int
    completed_at: str
    trusted: bool = True


class ResultRow(NamedTuple):
    """The outcome of one case in one run."""

    run: RunOfResults
    case_key: CaseKey
    case_id: str | None
    variant: Mapping[str, str]
    suite: str
    name: str
    file: str | None
    status: ResultStatus
    flaky: bool
    attempts: int
    duration_ms: int | None
    started_ms: int | None
    failure_summary: str | None
    fingerprint: Fingerprint | None

    @property
    def id(self) -> str:
        """The public ID."""
        return result_id(self.run.run_key, self.case_key)

    @property
    def case(self) -> str:
        """The public ID of the case."""
        return case_public_id(self.case_key)

    @property
    def run_id(self) -> str:
        """The ID of the run."""
        return self.run.run_id

    @property
    def project_id(self) -> str:
        """The project of the run."""
        return self.run.project_id

    @property
    def environment(self) -> str | None:
        """The environment of the run."""
        return self.run.environment

    @property
    def branch(self) -> str | None:
        """The branch of the run."""
        return self.run.branch

    @property
    def commit_sha(self) -> str | None:
        """The commit of the run."""
        return self.run.commit_sha

    @property
    def completed_ms(self) -> int:
        """The completion time of the run."""
        return self.run.completed_ms

    @property
    def failure_group_id(self) -> str | None:
        """The public ID of the failure group, or None if the result isn't failing."""
        return None if self.fingerprint is None else fingerprint_id(self.fingerprint)


class FailingCaseRow(NamedTuple):
    """A result of a run that failed, as events list it."""

    run_key: RunKey
    case_key: CaseKey
    status: ResultStatus
    failure_summary: str | None
    case_id: str | None
    variant: Mapping[str, str]
    suite: str
    name: str
    file: str | None


class RunRow(NamedTuple):
    """A run. `organization_id` is the slug of its organization."""

    run_key: RunKey
    organization_id: str
    run_id: str
    project_id: str
    environment: str | None
    branch: str | None
    base_branch: str | None
    commit_sha: str | None
    pull_request: str | None
    ci_url: str | None
    pipeline: str | None
    title: str | None
    author: str | None
    workflow: str | None
    job_url: str | None
    repository_url: str | None
    labels: Mapping[str, str]
    status: RunStatus
    failures_missing: bool
    complete: bool
    counts: Counts
    expected_results: int | None
    expected_shards: int | None
    revision: int
    started_ms: int | None
    completed_ms: int
    last_completed_ms: int
    duration_ms: int | None
    results_expired: bool
    pinned: bool
    trusted: bool = True


class PullRequestSuggestion(NamedTuple):
    """A pull request of recent runs, with the newest title that they state."""

    number: str
    title: str | None


class FilterSuggestions(NamedTuple):
    """Values of recent runs for filters of the list of runs, newest first."""

    authors: Sequence[str]
    pull_requests: Sequence[PullRequestSuggestion]


class PartRow(NamedTuple):
    """A part of a run. `attempt` is the rank of its highest attempt."""

    part: str | None
    variant: Mapping[str, str]
    shard: int | None
    attempt: int | None


class RunDetailRow(NamedTuple):
    """A run with its parts."""

    run: RunRow
    parts: Sequence[PartRow]


class FailureRow(NamedTuple):
    """The failure of an attempt. At least one field is known."""

    type: str | None
    message: str | None
    details: str | None


class AttemptRow(NamedTuple):
    """One execution of a case in a run. `job_attempt` is the rank of the attempt of the CI job."""

    attempt: int
    status: ResultStatus
    duration_ms: int | None
    started_ms: int | None
    failure: FailureRow | None
    logs_ref: str | None
    job_attempt: int | None


class ResultDetailRow(NamedTuple):
    """A result with its run, its failure, and its attempts. `part` is the name of the CI job that executed these."""

    result: ResultRow
    run: RunRow
    line: int | None
    properties: Mapping[str, str]
    logs_ref: str | None
    failure: FailureRow | None
    part: str | None
    attempts: Sequence[AttemptRow]


class ReceiptDetails(NamedTuple):
    """How an event or report was processed. `problems` are public objects."""

    receipt_id: str
    status: ReceiptStatus
    run_id: str | None
    pipeline: str | None
    part: str | None
    shard: int | None
    variant: Mapping[str, str]
    source: str
    event_id: str
    results: int
    replaced: int
    replaced_failing: int
    combined: int
    problems: Sequence[Mapping[str, Any]]
    received_at: datetime
    publisher_id: str | None
    publisher_name: str | None
    job: str | None

    @property
    def is_open(self) -> bool:
        """Whether the event or report isn't completely processed yet."""
        return self.status in ("queued", "processing")


class CaseRow(NamedTuple):
    """A case with statistics over its latest runs. The rates are None if no result was executed."""

    case_key: CaseKey
    project_id: str
    case_id: str | None
    variant: Mapping[str, str]
    suite: str
    name: str
    file: str | None
    last_status: ResultStatus | None
    last_run_id: str | None
    last_completed_ms: int | None
    runs: int
    executed: int
    failed: int
    flaky: int
    failure_rate: float | None
    flaky_rate: float | None
    mean_duration_ms: int | None
    p95_duration_ms: int | None
    trusted: bool = True

    @property
    def id(self) -> str:
        """The public ID."""
        return case_public_id(self.case_key)


class RankedCases(NamedTuple):
    """The first cases of a ranking. `truncated` states that a scan budget ended before the ranking did."""

    cases: Sequence[CaseRow]
    truncated: bool


class FailureGroupRow(NamedTuple):
    """The failing results of a project with the same fingerprint. The example is the newest of them."""

    fingerprint: Fingerprint
    project_id: str
    type: str | None
    message: str | None
    results: int
    cases: int
    runs: int
    first_seen_ms: int
    last_seen_ms: int
    example_run: RunKey
    example_case: CaseKey
    ticket_url: str | None

    @property
    def id(self) -> str:
        """The public ID."""
        return fingerprint_id(self.fingerprint)

    @property
    def example_result_id(self) -> str:
        """The public ID of the newest result."""
        return result_id(self.example_run, self.example_case)


class FailureGroupDetailRow(NamedTuple):
    """One failure group. `truncated` states that only its newest results count."""

    group: FailureGroupRow
    truncated: bool


class RankedGroups(NamedTuple):
    """The largest failure groups. `truncated` states that a scan budget ended before the range did."""

    groups: Sequence[FailureGroupRow]
    truncated: bool


class StatsBucketRow(NamedTuple):
    """The runs of one group that completed in one interval. `counts` are sums over these runs.

    `group` is a name, or None if the runs aren't grouped, or for the groups with the fewest runs together.
    """

    start_ms: int
    group: str | None
    runs: int
    failed_runs: int
    counts: Counts
    pass_rate: float | None
    duration_p50_ms: int | None
    duration_p95_ms: int | None
