"""The request bodies and parameters of projects."""

from typing import Annotated

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from service.contracts.queries import BranchName, Patch, Query
from service.contracts.responses import Time, closed
from service.domain.code_links import check_code_url_pattern
from service.domain.report_fields import MAX_URL

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


class ProjectPatch(Patch):
    """The fields of a project to change. Absent fields keep their values."""

    default_branch: BranchName = Field(
        default_factory=str, description="Branch with which runs are compared if they state no base_branch"
    )
    code_url_pattern: Annotated[CodeUrlPattern | None, Field(description="Null removes the pattern")] = None
    untrusted_uploads: bool = Field(
        default_factory=bool, description="Whether keys of the role public can upload untrusted runs of the project"
    )


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
    created_at: Time
    deletion_requested_at: Annotated[
        Time | None, Field(description="If set, the project is being deleted, and then no longer found")
    ]
