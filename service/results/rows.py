"""The rows of results as the store returns them, for lists, details, comparisons, and pages.

Times are in ms since 1970. Statuses are names. A field has the name of the member of the public object if both have the
same value.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple

from service.domain.ids import CaseKey, Fingerprint, RunKey, case_public_id, fingerprint_id, result_id
from service.domain.statuses import FAILING, ResultStatus
from service.domain.texts import Quote
from service.runs.model import RunRow

_OF_EXECUTION: Final = re.compile(r"attempt-(\d{1,4})-", re.ASCII)  # attempt-2-stdout.txt: domain/ids.py
_OF_JOB: Final = re.compile(r" \(attempt (\d{1,4})\)(?=(\.[^.]*)?\Z)", re.ASCII)  # stdout (attempt 2).txt: model.py
_OUTPUT: Final = re.compile(  # of a report, in which only executions that didn't pass have output
    r"(?:attempt-\d{1,4}-)?(?:report-)?(?:system-out|system-err|stdout|stderr|output|debug-trace)\b.*\.txt", re.ASCII
)
_MAX_LISTED: Final = 5


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
    """The outcome of one case in one run. `flaky` to `started_ms` are the listed columns of CaseOutcome."""

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


File = Mapping[str, Any]  # a public artifact


class Execution(NamedTuple):
    """One execution. `job_attempt` is the rank of the attempt of the CI job, or None if none is stated."""

    attempt: int
    status: str
    job_attempt: int | None


def describe_flaky(part: str | None, executions: Sequence[Execution], quote: Quote = str) -> str | None:
    """Return the outcomes of the attempts of a result that passed after a failure, or None.

    Example: `failed in attempt 1 of job unit, passed in attempt 2`.
    """
    groups = _by_job_attempt(executions)
    outcomes = [(group[-1].job_attempt, group[-1].status) for group in groups]
    of_job = f" of job {quote(part)}" if part else " of the CI job"
    if not any(status in FAILING for _, status in outcomes[:-1]):
        outcomes, of_job = [(each.attempt, each.status) for each in groups[-1]], ""
    if outcomes[-1][1] != "passed" or not any(status in FAILING for _, status in outcomes):
        return None
    (number, status), *others = outcomes[-_MAX_LISTED:]
    return ", ".join(
        [f"{status} in attempt {number}{of_job}", *(f"{status} in attempt {number}" for number, status in others)]
    )


def group_files(files: Iterable[File], executions: Sequence[Execution]) -> dict[int | None, list[File]]:
    """Return the files of each execution by its `attempt`. None has the files whose execution isn't known.

    Only the name of a file states its execution: its number in the report, and the number of the job attempt if an
    earlier attempt has a file with the same name. A file whose name states neither is attributed only if no other
    execution can have it.
    """
    listed, groups = list(files), _by_job_attempt(executions)
    grouped: dict[int | None, list[File]] = {}
    for file in listed:
        grouped.setdefault(_find_execution(file, listed, groups), []).append(file)
    return grouped


def _by_job_attempt(executions: Iterable[Execution]) -> list[list[Execution]]:
    return [list(group) for _, group in groupby(executions, lambda execution: execution.job_attempt)]


def _find_execution(file: File, files: Sequence[File], groups: Sequence[Sequence[Execution]]) -> int | None:
    """Return the number of the only execution that can have the file, or None.

    A passed execution has no output in a report.
    """
    possible = [each for group in _find_groups(file, files, groups) for each in _matching(file, group)]
    if len(possible) > 1 and _is_output(file):
        possible = [each for each in possible if each.status != "passed"]
    return possible[0].attempt if len(possible) == 1 else None


def _find_groups(
    file: File, files: Sequence[File], groups: Sequence[Sequence[Execution]]
) -> Sequence[Sequence[Execution]]:
    """Return the attempts of the job that can have sent the file."""
    if len(groups) == 1 or file.get("receipt_id"):  # files that a report names keep their names
        return groups
    stated = _OF_JOB.search(file["name"])
    if stated is not None:
        return groups[int(stated[1]) - 1 : int(stated[1])]
    renamed = [int(number[1]) for other in files if (number := _renamed_like(other["name"], file["name"]))]
    return groups[: min(renamed) - 1] if renamed else groups


def _matching(file: File, group: Sequence[Execution]) -> Sequence[Execution]:
    """Return the executions of an attempt of the job that can have the file."""
    stated = _OF_EXECUTION.match(file["name"])
    if stated is None:
        return group
    number = int(stated[1]) + (group[0].attempt - 1 if group[0].job_attempt else 0)
    return [each for each in group if each.attempt == number]


def _is_output(file: File) -> bool:
    return file["kind"] == "log" and not file.get("receipt_id") and _OUTPUT.fullmatch(file["name"]) is not None


def _renamed_like(name: str, original: str) -> "re.Match[str] | None":
    """Return the number in a name that a later attempt has, because the original name was in use."""
    stated = _OF_JOB.search(name)
    return stated if stated and name[: stated.start()] + name[stated.end() :] == original else None
