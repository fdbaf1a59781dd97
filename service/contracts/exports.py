"""Export requests of API clients. store/sql/queries/exports.sql writes the jobs as JSON."""

from collections.abc import Collection
from typing import Annotated, Any, Final

from pydantic import Field, field_validator

from service.contracts.queries import EventPosition, ExportFilters, Query
from service.domain.errors import InvalidRequest
from service.domain.export_columns import AnyColumn, ExportContent, columns_of
from service.domain.exports import EXPORT_FORMATS, Compression, ExportFormatName

# Filters of fields that never change. A run that no longer matches any other filter would be missing in the increment.
_FILTERS_OF_INCREMENTS: Final = frozenset({"project_id", "from", "to"})
_FILTERS_OF_RUNS: Final = _FILTERS_OF_INCREMENTS | {"run_id", "environment", "branch", "commit_sha", "label"}


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
        """Return the document that is stored with the job, with all defaults filled in."""
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
