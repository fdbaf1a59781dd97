"""The request to promote an untrusted run."""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from service.contracts.queries import BranchName, Name
from service.contracts.validation import COMMIT, RECEIPT_ID

MAX_RECEIPTS: Final = 1_000  # of a promotion

_Commit = Annotated[str, StringConstraints(pattern=COMMIT)]


class PromotionRequest(BaseModel):
    """What the trusted job knows about the run, independently of the run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    commit_sha: Annotated[_Commit, Field(description="Complete hash of the commit, which each report must state")]
    receipts: list[Annotated[str, StringConstraints(pattern=RECEIPT_ID)]] = Field(
        min_length=1,
        max_length=MAX_RECEIPTS,
        description="Receipts of the reports that the CI job of the fork has sent. Everything that other uploads have"
        " added to the run is deleted. 409 if the run has no report with such a receipt, or if it was rejected",
    )
    pull_request: Annotated[
        Name | None, Field(description="Number of the pull request; default: the one that the reports state")
    ] = None
    base_branch: Annotated[
        BranchName | None,
        Field(
            description="Target branch of the pull request; default: the default branch of the project, and never the"
            " one that a report states"
        ),
    ] = None
    revision: Annotated[
        int | None,
        Field(
            ge=1,
            description="Revision of the run that was reviewed; 409 if the run has a lower one, because it was"
            " deleted and sent again, or if one of the reports isn't stored yet. Later uploads don't matter: the"
            " promotion deletes what they have added",
        ),
    ] = None
