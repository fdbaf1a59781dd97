"""The arguments of the tools. Each has the name of the parameter of the HTTP API that it sets."""

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from service.cases.contract import RunCount
from service.cases.model import Ranking
from service.comparison.model import FAILING_CHANGES, Change
from service.contracts.queries import BranchName, Name, Query
from service.domain.statuses import RunStatus, StateValue

_DEFAULT_ROWS: Final = 10
_MAX_ROWS: Final = 25


def _check_number(value: object) -> object:
    """Reject true and false, which Python treats as numbers."""
    if isinstance(value, bool):
        raise ValueError("must be an integer")  # noqa: TRY004 - pydantic reports ValueError
    return value


def _split_list(value: object) -> object:
    """Return the list of a text with JSON or commas."""
    if not isinstance(value, str):
        return value
    return value.strip("[] ").replace('"', "").replace(" ", "").split(",")


Number = BeforeValidator(_check_number)
RowLimit = Annotated[int, Number, Field(ge=1, le=_MAX_ROWS, description="Maximum number of rows")]
ProjectId = Annotated[Name | None, Field(description="Project")]
Branch = Annotated[BranchName | None, Field(description="Branch of the runs")]
OwnerName = Annotated[Name | None, Field(description="Owner of the cases")]
RunTime = Annotated[
    str | None, Field(description="Completion time of the run: a date, or an RFC 3339 time", examples=["2026-05-20"])
]
StartingAfter = Annotated[
    str | None,
    StringConstraints(min_length=1, max_length=2_000),
    Field(description="From `continue_with` of the previous response, with otherwise the same arguments"),
]
TextOffset = Annotated[int, Number, Field(ge=0, description="First character to return, from `continue_with`")]


class ToolArguments(Query):
    """The base of all arguments. A value of another type is converted if it has only one meaning.

    Agents send numbers as text, texts such as the number of a pull request as numbers, null for an argument that isn't
    set, and one value instead of a list.
    """

    model_config = ConfigDict(coerce_numbers_to_str=True)

    @model_validator(mode="before")
    @classmethod
    def _remove_nulls(cls, values: Any) -> Any:
        return {name: value for name, value in values.items() if value is not None}


class RowsArguments(ToolArguments):
    """A part of a list."""

    limit: RowLimit = _DEFAULT_ROWS
    starting_after: StartingAfter = None


class FindRunsArguments(RowsArguments):
    """Filters of runs. All filters that are set must match."""

    project_id: ProjectId = None
    branch: Branch = None
    commit_sha: Annotated[Name | None, Field(description="Commit, by its first digits (at least 7)")] = None
    pull_request: Annotated[Name | None, Field(description="Number of the pull request")] = None
    pipeline: Annotated[Name | None, Field(description="Execution of the CI pipeline, such as github-812")] = None
    author: Annotated[Name | None, Field(description="Author of the commit or pull request")] = None
    environment: Annotated[Name | None, Field(description="System under test")] = None
    status: Annotated[RunStatus | None, Field(description="Status of the run")] = None


class ExplainRunArguments(RowsArguments):
    """A run, and the changes to list."""

    run_id: Annotated[Name, Field(description="Run")]
    change: Annotated[list[Change], BeforeValidator(_split_list)] = Field(
        default_factory=lambda: list(FAILING_CHANGES), description="Changes to list. Default: those of failing results"
    )


class GetResultArguments(ToolArguments):
    """A result."""

    result_id: Annotated[Name, Field(description="Result, by its ID res_…")]
    message_offset: TextOffset = 0
    details_offset: TextOffset = 0


class RunArtifactsArguments(RowsArguments):
    """The artifacts of a run."""

    run_id: Annotated[Name, Field(description="Run")]


class ReadLogArguments(ToolArguments):
    """A text file."""

    artifact_id: Annotated[Name, Field(description="Artifact, by its ID art_… from get_result or list_run_artifacts")]
    offset: Annotated[
        int, Number, Field(description="First byte to return. A negative number counts from the end of the file")
    ] = 0


class CaseHistoryArguments(RowsArguments):
    """The results of a case."""

    case: Annotated[Name, Field(description="Case, by its ID case_…")]
    branch: Branch = None
    environment: Annotated[Name | None, Field(description="System under test")] = None


class FailureGroupsArguments(ToolArguments):
    """The failures of a run, or of a project. One of `run_id` and `project_id` is required."""

    run_id: Annotated[Name | None, Field(description="Run")] = None
    project_id: ProjectId = None
    branch: Branch = None
    owner: OwnerName = None
    from_: Annotated[RunTime, Field(alias="from")] = None
    to: RunTime = None
    limit: RowLimit = _DEFAULT_ROWS


class FailureGroupArguments(RowsArguments):
    """A failure group."""

    failure_id: Annotated[Name, Field(description="Failure group, by its ID fp1_…")]


class RankCasesArguments(ToolArguments):
    """The order of the cases of a project."""

    project_id: Annotated[Name | None, Field(description="Project. Required unless the key is bound to a project")] = (
        None
    )
    sort: Annotated[
        Ranking,
        Field(
            description="`failures`: most failing results in the newest `runs` runs. `flaky`: most flaky results in"
            " these runs. `duration`: longest results of the newest complete run. `total_duration`: longest sum of the"
            " durations of all executions of the last 30 days, which `costs` states"
        ),
    ]
    branch: Branch = None
    state: Annotated[list[StateValue], BeforeValidator(_split_list)] = Field(
        default_factory=list, description="States of the cases to list. Default: cases in any state"
    )
    owner: OwnerName = None
    runs: RunCount = 50
    limit: RowLimit = _DEFAULT_ROWS
