"""The request bodies and parameters of projects."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

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


class ProjectPatch(BaseModel):
    """The fields of a project to change. Absent fields keep their values."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    default_branch: BranchName = Field(
        default_factory=str, description="Branch with which runs are compared if they state no base_branch"
    )
    code_url_pattern: Annotated[CodeUrlPattern | None, Field(description="Null removes the pattern")] = None

    @model_validator(mode="after")
    def _require_a_field(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("the body must contain at least one field to change")
        return self

    def changes(self) -> dict[str, Any]:
        """Return the fields that the request contains."""
        return self.model_dump(include=self.model_fields_set)


class ProjectDeletion(Query):
    """The confirmation of a deletion."""

    confirm: Annotated[str, Field(description="ID of the project, repeated to confirm the deletion")]
