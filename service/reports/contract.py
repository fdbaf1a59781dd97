"""The query parameters of an uploaded report."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationInfo, field_validator

from service.contracts.queries import BranchName, Query, Timestamp
from service.contracts.validation import ID, NO_NUL, SHA256
from service.domain.codeowners import MAX_OWNER_GLOBS, MAX_OWNERS, OwnersHost
from service.domain.globs import check_glob
from service.domain.report_fields import (
    MAX_ROOT,  # fmt: skip
    MAX_URL,  # fmt: skip
    check_https_url,  # fmt: skip
    check_label,  # fmt: skip
    check_path_prefix,  # fmt: skip
    check_root,  # fmt: skip
    check_shard,  # fmt: skip
    parse_shard,  # fmt: skip
)
from service.domain.texts import MAX_CONTEXT, MAX_LABELS
from service.domain.variants import MAX_PAIRS, check_pair, parse_pairs
from service.ingest.contract import AttemptOfJob, CaseOwner, Identifier, PartOfUpload
from service.runs.model import STATED_FIELDS

ShortText = Annotated[str, StringConstraints(min_length=1, max_length=1_000, pattern=NO_NUL)]
ContextText = Annotated[str, StringConstraints(min_length=1, max_length=MAX_CONTEXT, pattern=NO_NUL)]
HttpsUrl = Annotated[
    str,
    AfterValidator(check_https_url),
    Field(json_schema_extra={"format": "uri", "pattern": "^https://", "maxLength": MAX_URL}),
]
Sha256Digest = Annotated[str, StringConstraints(pattern=SHA256, to_lower=True)]
Label = Annotated[ShortText, AfterValidator(check_label)]
VariantPair = Annotated[str, AfterValidator(check_pair), Field(examples=["os:linux"])]
Root = Annotated[str, AfterValidator(check_root), Field(examples=["/builds/acme/shop"])]
PathPrefix = Annotated[str, AfterValidator(check_path_prefix), Field(max_length=MAX_ROOT, examples=["services/web"])]
Shard = Annotated[str, AfterValidator(check_shard), Field(examples=["2/8"])]
Pattern = Annotated[str, StringConstraints(min_length=1, pattern=NO_NUL)]
_Owners = Annotated[list[CaseOwner], Field(max_length=MAX_OWNERS)]
PublicId = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=ID)]


class OwnersIn(BaseModel):
    """The owners of files: a file of the field `owners` of an upload, which gzip can compress.

    The last matching pattern of each section of CODEOWNERS counts, or else the last matching glob of `map`. Both match
    complete paths from the root of the repository.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: Annotated[OwnersHost, Field(description="Whose syntax the patterns have")]
    sections: list[list[tuple[Pattern, _Owners]]] = []
    map: Annotated[
        list[tuple[Annotated[Pattern, AfterValidator(check_glob)], _Owners]], Field(max_length=MAX_OWNER_GLOBS)
    ] = []


class ReportQuery(Query):
    """The fields of the run of an uploaded report. They override the fields that the report contains."""

    project_id: Identifier
    environment: Identifier | None = None
    branch: BranchName | None = None
    base_branch: Annotated[BranchName | None, Field(description=STATED_FIELDS["base_branch"].description)] = None
    commit_sha: ShortText | None = None
    pull_request: Annotated[Identifier | None, Field(description=STATED_FIELDS["pull_request"].description)] = None
    ci_url: ShortText | None = None
    pipeline: Identifier | None = None
    title: ContextText | None = None
    author: ContextText | None = None
    workflow: ContextText | None = None
    job_url: HttpsUrl | None = None
    repository_url: HttpsUrl | None = None
    label: list[Label] = Field(
        default_factory=list, max_length=MAX_LABELS, description="A label as name:value; repeatable"
    )
    labels: list[Label] = Field(default_factory=list, max_length=MAX_LABELS, description="The same as `label`")
    started_at: Timestamp | None = None
    completed_at: Annotated[
        Timestamp | None,
        Field(description="The end of the run; default: the end that the report states, else the time of receipt"),
    ] = None
    shard: Annotated[
        Shard | None,
        Field(
            description="Number of this shard and number of all shards; the run is complete after all shards are"
            " stored. Without the number of all shards (`shard=2`), `final` states whether the run is complete"
        ),
    ] = None
    part: PartOfUpload = None
    attempt: AttemptOfJob = None
    final: Annotated[
        bool | None,
        Field(
            description="Whether the run is complete with this upload; default: true, unless the upload states the"
            " number of all shards. `false` leaves the run open until a final upload or"
            " `POST /v1/runs/{run_id}/complete`"
        ),
    ] = None
    notify: Annotated[
        bool | None, Field(description="`false` stores the results without events, for imports of old results")
    ] = None

    allow_empty: Annotated[
        bool | None,
        Field(
            description="`true` states that the run passed if the upload contains no results. By default, a run without"
            " results has the status error"
        ),
    ] = None

    variant: list[VariantPair] = Field(
        default_factory=list,
        max_length=MAX_PAIRS,
        description="A pair key:value that distinguishes this job in a matrix, for example os:linux; repeatable. It is "
        "added to the variants that the report states",
    )

    root: Annotated[
        Root | None,
        Field(
            description="Absolute folder of the checkout on the machine that wrote the reports. The `file` of a result "
            "below this folder is relative to it. Otherwise, an absolute file is stored as its name without folders. "
            "Only the suites of Jest JSON, Vitest JSON, and CTRF depend on this folder: they begin with the same path"
        ),
    ] = None

    path_prefix: Annotated[
        PathPrefix,
        Field(
            description="Folder of the repository to which relative files in the reports are relative. With `web`, the"
            " `file` of a result in `cart.test.js` is `web/cart.test.js`. The identity of cases doesn't depend on it."
            " In a form, the header `Path-Prefix` of a report, which is percent-encoded, replaces this parameter"
        ),
    ] = ""

    @field_validator("variant")
    @classmethod
    def _check_variant(cls, pairs: list[str]) -> list[str]:
        parse_pairs(pairs)
        return pairs

    @field_validator("final")
    @classmethod
    def _check_final(cls, final: bool | None, info: ValidationInfo) -> bool | None:
        shard = info.data.get("shard")
        if final is not None and shard and parse_shard(shard)[1] is not None:
            raise ValueError("must not be combined with the number of all shards: both state when the run is complete")
        return final

    def run_fields(self) -> dict[str, Any]:
        """Return the parameters as JSON-compatible fields of UploadedRun."""
        fields: dict[str, Any] = self.model_dump(
            mode="json", exclude_none=True, exclude={"label", "labels", "path_prefix", "shard", "variant"}
        )
        if labels := [*self.labels, *self.label]:
            fields["labels"] = dict(label.split(":", 1) for label in labels)
        if self.variant:
            fields["variant"] = parse_pairs(self.variant)
        if self.shard:
            number, total = parse_shard(self.shard)
            fields |= {"shard": number} if total is None else {"shard": number, "expected_shards": total}
        return fields
