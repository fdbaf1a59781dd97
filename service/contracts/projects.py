"""The request bodies and parameters of projects."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from service.contracts.queries import BranchName, Query


class ProjectPatch(BaseModel):
    """The fields of a project to change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    default_branch: Annotated[
        BranchName, Field(description="Branch with which runs are compared if they state no base_branch")
    ]


class ProjectDeletion(Query):
    """The confirmation of a deletion."""

    confirm: Annotated[str, Field(description="ID of the project, repeated to confirm the deletion")]
