"""The request body of projects."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from service.contracts.queries import BranchName


class ProjectPatch(BaseModel):
    """The fields of a project to change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    default_branch: Annotated[
        BranchName, Field(description="Branch with which runs are compared if they state no base_branch")
    ]
