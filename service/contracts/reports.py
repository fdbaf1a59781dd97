"""Query parameters of uploads and of receipts."""

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, StringConstraints

from service.contracts.queries import BranchName, Name, PageQuery, Query, Timestamp
from service.contracts.run_events import ArtifactKind, Identifier
from service.contracts.validation import NO_NUL, SHA256

_MAX_SHARDS: Final = 10_000
_SHARD: Final = re.compile(r"(\d{1,5})/(\d{1,5})", re.ASCII)
_LABEL: Final = re.compile(r"([^\x00:]{1,200}):([^\x00]{0,1000})", re.DOTALL)


def _valid_shard(text: str) -> str:
    _parse_shard(text)
    return text


def _parse_shard(text: str) -> tuple[int, int]:
    match = _SHARD.fullmatch(text)
    number, total = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= total <= _MAX_SHARDS:
        raise ValueError("must be i/n, for example 2/8")
    return number, total


def _valid_label(text: str) -> str:
    if not _LABEL.fullmatch(text):
        raise ValueError("must be name:value")
    return text


ShortText = Annotated[str, StringConstraints(min_length=1, max_length=1_000, pattern=NO_NUL)]
Sha256Digest = Annotated[str, StringConstraints(pattern=SHA256, to_lower=True)]
Label = Annotated[ShortText, AfterValidator(_valid_label)]
Shard = Annotated[str, AfterValidator(_valid_shard), Field(examples=["2/8"])]


class ReportQuery(Query):
    """What a report does not say of its run. All of it goes before what the report says itself."""

    project_id: Identifier
    environment: Identifier | None = None
    branch: BranchName | None = None
    commit_sha: ShortText | None = None
    ci_url: ShortText | None = None
    labels: list[Label] = Field(default_factory=list, max_length=100, description="name:value; may be repeated")
    started_at: Timestamp | None = None
    completed_at: Annotated[Timestamp | None, Field(description="By default the time of receipt")] = None
    shard: Annotated[Shard | None, Field(description="Which part of how many; the run is complete with all")] = None

    def run_fields(self) -> dict[str, Any]:
        """Fields of RunIn that are said here, fit for JSON."""
        said: dict[str, Any] = self.model_dump(mode="json", exclude_none=True, exclude={"labels", "shard"})
        if self.labels:
            said["labels"] = dict(label.split(":", 1) for label in self.labels)
        if self.shard:
            said["shard"], said["expected_shards"] = _parse_shard(self.shard)
        return said


class ReceiptQuery(PageQuery):
    """A page of the list of receipts."""

    run_id: Name | None = None
    event_id: Annotated[str | None, StringConstraints(min_length=1, max_length=400, pattern=NO_NUL)] = None


class ArtifactQuery(Query):
    """What is said of an uploaded file besides its bytes."""

    kind: ArtifactKind | None = None
    sha256: Annotated[Sha256Digest | None, Field(description="Hex digits; other bytes are refused")] = None
