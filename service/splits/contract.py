"""Requests and responses of splits, and the assignments that uploads state."""

from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from typing_extensions import TypedDict

from service.contracts.queries import Name
from service.contracts.responses import Time, closed
from service.contracts.validation import NO_NUL
from service.ingest.contract import Identifier, Variant
from service.reports.contract import PathPrefix
from service.splits.model import MAX_ITEM, MAX_ITEMS, MAX_PARTS, MissingReason, SplitUnit


def _check_distinct(items: list[str]) -> list[str]:
    if len(set(items)) != len(items):
        item, _ = Counter(items).most_common(1)[0]
        raise ValueError(f"must not contain an item twice: {item!r}")
    return items


Items = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=MAX_ITEM, pattern=NO_NUL)]],
    Field(max_length=MAX_ITEMS),
    AfterValidator(_check_distinct),
]
PartTotal = Annotated[int, Field(strict=True, ge=1, le=MAX_PARTS, description="Number of parts")]


class _SplitFields(BaseModel):
    """What identifies a split, and what all of its jobs must state equally."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    project_id: Identifier
    pipeline: Annotated[
        Identifier | None,
        Field(description="The pipeline of the jobs. Each pipeline has keys of its own"),
    ] = None
    run_id: Annotated[Identifier | None, Field(description="The run of the jobs, if they have no pipeline")] = None
    unit: Annotated[
        SplitUnit, Field(description="What an item is: the path of a file, or a case, written `suite > name`")
    ] = "file"
    total: PartTotal
    variant: Annotated[Variant, Field(description="The variant of the results")] = {}
    path_prefix: Annotated[
        PathPrefix, Field(description="Folder of the repository to which the files are relative")
    ] = ""
    items: Items


class SplitIn(_SplitFields):
    """The items of all jobs, in any order."""

    items: Annotated[Items, Field(min_length=1)]


class AssignmentIn(_SplitFields):
    """The items that a job executes: a file of the field `split` of an upload, which gzip can compress."""

    format: Literal[1]
    key: Identifier
    index: Annotated[int, Field(strict=True, ge=1, le=MAX_PARTS, description="Number of the part, from 1")]
    all_items: Annotated[
        Items | None, Field(description="The items of all jobs, if the job split them by name without the server")
    ] = None

    expects_results: Annotated[
        bool,
        Field(
            strict=True,
            description="Each item must have a result: because test tools name only such items, or because the reports"
            " are unfinished",
        ),
    ] = False

    @model_validator(mode="after")
    def _check_index(self) -> Self:
        if self.index > self.total:
            raise ValueError("index: must be at most total")
        return self


class SplitQuery(BaseModel):
    """Which split has the key. Without a pipeline and a run, the newest one has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    project_id: Identifier
    pipeline: Name | None = None
    run_id: Name | None = None


@closed
class PlannedPart(TypedDict):
    """The items of one job."""

    index: Annotated[int, Field(description="Number of the part, from 1")]
    items: Annotated[list[str], Field(description="In the order of their names. An empty part is normal")]
    predicted_ms: Annotated[
        int | None,
        Field(description="Sum of the durations of the items. Null if no item has one"),
    ]


@closed
class Split(TypedDict):
    """A plan, which is the same for all jobs. It is deleted after 30 days."""

    key: str
    project_id: str
    pipeline: str | None
    run_id: str | None
    unit: SplitUnit
    total: int
    variant: dict[str, str]
    path_prefix: str
    parts: list[PlannedPart]
    unknown_items: Annotated[int, Field(description="Items without a duration, which get the median of the others")]
    gain_ms: Annotated[
        int | None,
        Field(description="Predicted difference between the slowest part of an alphabetical split and of this plan"),
    ]
    created_at: Time


@closed
class MissingItemOut(TypedDict):
    """An item of a split that no job executed."""

    key: Annotated[str, Field(description="Key of the split")]
    item: str
    index: Annotated[int | None, Field(description="Number of the part. Null if the plan lacks the item")]
    reason: Annotated[
        MissingReason,
        Field(
            description="`no_upload`: no accepted upload states the item. `no_results`: one does, the run has no"
            " results of the item, and the baseline has some, or the upload expects some"
        ),
    ]


@closed
class ExecutedPart(TypedDict):
    """A part of a split in a run."""

    index: int
    items: Annotated[int, Field(description="Number of items")]
    predicted_ms: int | None
    duration_ms: Annotated[
        int | None, Field(description="Sum of the durations of the results of the items. Null if no item has one")
    ]
    receipts: Annotated[list[str], Field(description="Accepted uploads that state items of the part")]


@closed
class SplitOfRun(TypedDict):
    """A split of the jobs of a run, with everything that no job executed."""

    key: str
    unit: SplitUnit
    total: int
    variant: dict[str, str]
    path_prefix: str
    by_name: Annotated[bool, Field(description="At least one job split the items by name without the server")]
    parts: list[ExecutedPart]
    missing_items: list[MissingItemOut]


@closed
class SplitsOfRun(TypedDict):
    """The splits of the jobs of a run."""

    data: list[SplitOfRun]
