"""The request bodies and parameters of projects."""

from typing import Annotated

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from service.contracts.queries import BranchName, Patch, Query
from service.contracts.responses import Time, closed
from service.domain.code_links import check_code_url_pattern
from service.domain.report_fields import MAX_URL
from service.quarantines.model import MAX_DURATION, MAX_RELEASE_RUNS

CodeUrlPattern = Annotated[
    str,
    AfterValidator(check_code_url_pattern),
    Field(
        json_schema_extra={
            "pattern": "^https://",
            "maxLength": MAX_URL,
            "examples": ["https://git.example.org/{commit}/{file}#L{line}"],
        }
    ),
]


_Share = Annotated[
    float, Field(strict=True, gt=0, le=1, description="Of the cases that the newest complete run executed")
]
_Days = Annotated[
    int, Field(strict=True, ge=1, le=MAX_DURATION.days, description="Until a quarantine expires without renewal")
]
_Runs = Annotated[
    int, Field(strict=True, ge=1, le=MAX_RELEASE_RUNS, description="Runs after which a healthy case is released")
]


class AutoQuarantineIn(Query):
    """The policy by which flaky cases are quarantined, and released when they are no longer flaky."""

    max_share: _Share
    days: _Days
    release_after_runs: _Runs


@closed
class AutoQuarantine(TypedDict):
    """The policy by which flaky cases are quarantined, and released when they are no longer flaky."""

    max_share: _Share
    days: _Days
    release_after_runs: _Runs


@closed
class AutoQuarantineStatus(TypedDict):
    """How far a policy uses its limit, after the newest run."""

    active: Annotated[int, Field(description="Active quarantines of the policy")]
    limit: Annotated[int, Field(description="Maximum number of them: max_share, and at most 200")]
    waiting: Annotated[int, Field(description="Flaky cases that aren't quarantined because of the limit")]


class ProjectPatch(Patch):
    """The fields of a project to change. Absent fields keep their values."""

    default_branch: BranchName = Field(
        default_factory=str, description="Branch with which runs are compared if they state no base_branch"
    )
    code_url_pattern: Annotated[CodeUrlPattern | None, Field(description="Null removes the pattern")] = None
    untrusted_uploads: bool = Field(
        default_factory=bool, description="Whether keys of the role public can upload untrusted runs of the project"
    )
    auto_quarantine: Annotated[
        AutoQuarantineIn | None, Field(description="Null removes the policy, and its quarantines expire")
    ] = None


class ProjectDeletion(Query):
    """The confirmation of a deletion."""

    confirm: Annotated[str, Field(description="ID of the project, repeated to confirm the deletion")]


@closed
class Project(TypedDict):
    """A producer's grouping of runs and cases. It exists as soon as one of its runs is stored."""

    project_id: str
    default_branch: Annotated[
        str, Field(description="Branch with which runs are compared if they state no base_branch")
    ]
    last_run_at: Annotated[Time | None, Field(description="Completion time of the newest stored run")]
    code_url_pattern: Annotated[
        str | None,
        Field(
            description="URL of a line of a file at a commit, with {commit}, {file}, and {line}; null: in the form of"
            " the code host"
        ),
    ]
    untrusted_uploads: Annotated[
        bool, Field(description="Whether keys of the role public can upload untrusted runs of the project")
    ]
    auto_quarantine: Annotated[AutoQuarantine | None, Field(description="Null: no case is quarantined automatically")]
    auto_quarantine_status: Annotated[
        AutoQuarantineStatus | None, Field(description="Null without a policy, and until it was applied first")
    ]
    created_at: Time
    deletion_requested_at: Annotated[
        Time | None, Field(description="If set, the project is being deleted, and then no longer found")
    ]
