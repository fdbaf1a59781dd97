"""The request to promote an untrusted run."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from service.contracts.queries import BranchName, Name
from service.contracts.validation import COMMIT

_Commit = Annotated[str, StringConstraints(pattern=COMMIT)]


class PromotionRequest(BaseModel):
    """What the trusted job knows about the run, independently of the run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    commit_sha: Annotated[_Commit, Field(description="Complete hash of the commit, which must be that of the run")]
    pull_request: Annotated[
        Name | None, Field(description="Number of the pull request; default: the one that the run states")
    ] = None
    base_branch: Annotated[
        BranchName | None,
        Field(
            description="Target branch of the pull request; default: the default branch of the project, and never the"
            " one that the run states"
        ),
    ] = None
    revision: Annotated[
        int | None, Field(ge=1, description="Revision of the run that was reviewed; 409 if the run has changed since")
    ] = None
