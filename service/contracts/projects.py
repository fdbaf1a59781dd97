"""The request bodies and parameters of projects."""

from typing import Annotated

from pydantic import AfterValidator, Field

from service.contracts.patches import Patch
from service.contracts.queries import BranchName, Query
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
