"""Artifacts: the query parameters of uploads and lists, and the public artifact."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationInfo, field_validator
from typing_extensions import TypedDict

from service.contracts.queries import PageQuery, Query
from service.contracts.responses import Sha256Hex, Time, closed
from service.contracts.validation import NO_NUL, RECEIPT_ID
from service.domain.variants import MAX_PAIRS, parse_pairs
from service.ingest.contract import ArtifactKind
from service.reports.contract import PublicId, Sha256Digest, ShortText, VariantPair


class ArtifactQuery(Query):
    """The optional properties of an uploaded artifact."""

    kind: ArtifactKind | None = None
    sha256: Annotated[
        Sha256Digest | None,
        Field(description="SHA-256 of the file in hexadecimal; a file with another hash is rejected"),
    ] = None


class RunArtifactQuery(ArtifactQuery):
    """The result of a run that an uploaded file belongs to. Without `case` and `name`, the file belongs to the run."""

    case: Annotated[PublicId | None, Field(description="Case of the result that the file belongs to")] = None
    suite: Annotated[
        str | None,
        StringConstraints(max_length=1_000, pattern=NO_NUL),
        Field(description="Suite of the result, together with `name`"),
    ] = None
    name: Annotated[ShortText | None, Field(description="Name of the result, together with `suite`")] = None
    variant: list[VariantPair] = Field(
        default_factory=list,
        max_length=MAX_PAIRS,
        description="A pair key:value of the variant of the result, for example os:linux; repeatable. It's needed if"
        " several results have the suite and the name",
    )
    attempt: Annotated[
        int | None,
        Field(
            ge=1,
            le=9_999,
            description="Attempt of the result that wrote the file, from 1. The artifact is named `attempt-1-` and the"
            " name of the file, like the output of attempts; default: the last attempt",
        ),
    ] = None
    receipt_id: Annotated[
        PublicId | None,
        Field(
            description="Receipt of the report that names the file, or with which a file of the run is sent. The file"
            " replaces no file of another report. It's needed if several reports name such a file for the result"
        ),
    ] = None

    @field_validator("suite", "name", "variant")
    @classmethod
    def _check_combination(cls, value: Any, info: ValidationInfo) -> Any:
        if info.data.get("case") is not None:
            raise ValueError("must not be combined with case")
        if isinstance(value, list):
            parse_pairs(value)
        return value

    @field_validator("attempt")
    @classmethod
    def _check_attempt(cls, attempt: int | None, info: ValidationInfo) -> int | None:
        if info.data.get("case") is None and info.data.get("name") is None:
            raise ValueError("needs case, or suite and name, because it is an attempt of a result")
        return attempt

    def of_attempt(self, name: str) -> str:
        """Return the name of the artifact, which states the attempt if it isn't the last one."""
        return name if self.attempt is None else f"attempt-{self.attempt}-{name}"


class RunArtifactsQuery(PageQuery):
    """The filter and the page of the list of the artifacts of a run."""

    receipt_id: Annotated[
        PublicId | None,
        Field(
            description="Return the files that the report with this receipt names, those of results too. The `url` of a"
            " file is null until a client uploads it. A page can have fewer files than `limit`, or none, although more"
            " follow"
        ),
    ] = None


@closed
class Artifact(TypedDict):
    """A file of a result or of a run.

    A file in external storage, or one that a report names and no client has uploaded, has a `uri` and no `url`.
    """

    id: Annotated[str, StringConstraints(pattern=r"^art_[0-9a-f]{64}$")]
    kind: ArtifactKind
    name: str
    content_type: str | None
    size: int | None
    sha256: Sha256Hex | None
    created_at: Time
    url: str | None
    expires_at: Time | None
    uri: str | None
    case: Annotated[
        str | None,
        StringConstraints(pattern=r"^case_[0-9a-f]{16}$"),
        Field(description="Case of the result that the file belongs to; null if it belongs to the run itself"),
    ]
    receipt_id: Annotated[
        str | None,
        StringConstraints(pattern=RECEIPT_ID),
        Field(description="Receipt of the report that names the file; null if no report names it"),
    ]
