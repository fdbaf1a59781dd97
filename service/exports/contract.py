"""Export requests of API clients. exports/store.sql writes the exports as JSON."""

from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from typing_extensions import TypedDict

from service.contracts.queries import EventPosition, ExportFilters, Query
from service.contracts.responses import Rate, Sha256Hex, Time, closed
from service.contracts.validation import describe_error, field_path, validation_errors
from service.domain.errors import InvalidRequest, ServiceError
from service.domain.filters import read_stored_filter
from service.exports.columns import ANY_COLUMNS, EXPORT_CONTENTS, ExportContent, columns_of
from service.exports.model import COMPRESSIONS, EXPORT_FORMATS, Compression, ExportFormatName, ExportSpec, FileFormat

# Filters of fields that never change. A run that no longer matches any other filter would be missing in the increment.
_FILTERS_OF_INCREMENTS: Final = frozenset({"project_id", "from", "to"})
_FILTERS_OF_RUNS: Final = _FILTERS_OF_INCREMENTS | {"run_id", "environment", "branch", "commit_sha", "label"}

if TYPE_CHECKING:
    AnyColumn = str  # for mypy, a Literal lists its values
else:
    AnyColumn = Literal[ANY_COLUMNS]


class ExportRequest(Query):
    """A request for a bulk export."""

    format: ExportFormatName
    content: Annotated[ExportContent, Field(description="The rows of the file: results, or runs")] = "results"
    filter: Annotated[ExportFilters, Field(description="The filters of the results list. Default: all results")] = (
        ExportFilters()
    )
    updated_since: Annotated[
        EventPosition | None,
        Field(
            description="Export only the runs that were stored, changed, or deleted after this position, or all results"
            " of these runs. It is the `position` of an earlier export, or the ID of an event. With it, `filter` can"
            " contain only `project_id`, `from`, and `to`"
        ),
    ] = None
    compression: Annotated[
        Compression | None,
        Field(description="Compression of the file, or of the pages of a parquet file. Default: none (parquet: zstd)"),
    ] = None
    columns: Annotated[
        list[AnyColumn] | None, Field(min_length=1, description="Columns in the given order. Default: all columns")
    ] = None
    raw: Annotated[
        bool, Field(strict=True, description="Don't neutralize cells that spreadsheets interpret as formulas (csv)")
    ] = False

    @field_validator("columns")
    @classmethod
    def _check_unique(cls, columns: list[AnyColumn] | None) -> list[AnyColumn] | None:
        if columns and len(set(columns)) < len(columns):
            raise ValueError("must not contain a column twice")
        return columns

    def check_content(self) -> None:
        """Check the columns and filters, whose validity depends on the other fields. Raises InvalidRequest."""
        for column in self.columns or ():
            if column not in columns_of(self.content):
                raise InvalidRequest(f"columns: {column} is not a column of {self.content}", "columns")
        names = set(self.filter.model_dump(by_alias=True, exclude_unset=True, exclude_none=True))
        if self.updated_since is not None:
            _check_filters(names, _FILTERS_OF_INCREMENTS, "updated_since")
        if self.content == "runs":
            _check_filters(names, _FILTERS_OF_RUNS, "the content runs")

    def within_project(self, project_id: str) -> "ExportRequest":
        """Return the request restricted to one project."""
        return self.model_copy(update={"filter": self.filter.model_copy(update={"project_id": project_id})})

    def to_document(self) -> dict[str, Any]:
        """Return the document that is stored with the export, with all defaults filled in."""
        export_format = EXPORT_FORMATS[self.format]
        return {
            "format": self.format,
            "content": self.content,
            "compression": self.compression or export_format.default_compression,
            "columns": list(self.columns or columns_of(self.content)),
            "raw": self.raw,
            "filter": self.filter.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True),
            "updated_since": self.updated_since,
        }


def _check_filters(names: set[str], supported: Collection[str], cause: str) -> None:
    if unsupported := names.difference(supported):
        param = f"filter.{min(unsupported)}"
        raise InvalidRequest(
            f"{param}: is not supported with {cause}. Supported: {', '.join(sorted(supported))}", param
        )


class UnsupportedExport(ServiceError):
    """The stored request can't be processed by this version of the service."""


class StoredExport(BaseModel):
    """A stored export request. Unknown fields are ignored; `to_spec` checks columns and filters strictly."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    format: str
    compression: str = "none"
    columns: tuple[str, ...] = ()
    raw: bool = False
    filter: dict[str, Any] = {}
    content: str = "results"
    updated_since: str | None = None
    changed_after: int | None = None

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> "StoredExport":
        """Return the stored request. Raises UnsupportedExport if this version can't read it."""
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            first = validation_errors(error)[0]
            reason = f"{field_path(first['loc'])}: {describe_error(first)}"
            raise UnsupportedExport(f"{reason} for this version; request a new export") from None

    @property
    def file_format(self) -> FileFormat:
        """Return the format and compression of the file. Raises UnsupportedExport if this version doesn't know them."""
        formats = {str(name): name for name in EXPORT_FORMATS}
        compressions = {str(name): name for name in COMPRESSIONS}
        if self.format not in formats or self.compression not in compressions:
            raise UnsupportedExport(f"format: this version doesn't support {self.format} with {self.compression}")
        return FileFormat(formats[self.format], compressions[self.compression])

    @property
    def run_id(self) -> str | None:
        """Return the run to which the export is restricted."""
        return self.filter.get("run_id")

    @property
    def project_id(self) -> str | None:
        """Return the project to which the export is restricted."""
        return self.filter.get("project_id")

    def file_name(self, created_at: datetime) -> str:
        """Return the suggested name of a download."""
        return self.file_format.file_name(self.content, self.run_id, created_at)

    def to_spec(self) -> ExportSpec:
        """Return the content and format of the file.

        Raises UnsupportedExport for a column or filter that this version doesn't support: a file must not contain
        other results than those requested.
        """
        content = self._known_content()
        if unknown := sorted(set(self.columns) - set(columns_of(content))):
            raise UnsupportedExport(f"columns: this version doesn't support {', '.join(unknown)}; request a new export")
        try:
            result_filter = read_stored_filter(self.filter)
        except ValueError as error:
            raise UnsupportedExport(f"filter: {error}; request a new export") from error
        raw = self.raw or not self.file_format.details.neutralizes_formulas
        return ExportSpec(self.file_format, self.columns, raw, result_filter, content, self.changed_after)

    def _known_content(self) -> ExportContent:
        contents = {str(name): name for name in EXPORT_CONTENTS}
        if self.content not in contents:
            raise UnsupportedExport(f"content: this version doesn't support {self.content}; request a new export")
        return contents[self.content]


@closed
class Export(TypedDict):
    """An export job. `size` and `sha256` describe the exact bytes at `file_url`."""

    id: str
    status: Literal["queued", "running", "succeeded", "failed", "canceled", "expired"]
    format: ExportFormatName
    compression: Compression
    content: Annotated[ExportContent, Field(description="The rows of the file")]
    columns: list[AnyColumn]
    raw: bool
    filter: dict[str, Any]
    updated_since: Annotated[str | None, Field(description="The position of the request, or null for all runs")]
    position: Annotated[
        str | None,
        Field(
            description="Value of `updated_since` for the next export, which then contains every change that this one"
            " doesn't contain. Null until the export has succeeded"
        ),
    ]
    rows: int | None
    size: int | None
    sha256: Sha256Hex | None
    progress: Rate | None
    error: str | None
    created_at: Time
    started_at: Time | None
    finished_at: Time | None
    expires_at: Time | None
    file_url: str | None
