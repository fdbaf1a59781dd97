"""Export requests of API clients. store/sql/read_exports.sql writes the jobs as JSON."""

from typing import Annotated, Any

from pydantic import Field, field_validator

from service.contracts.queries import ExportFilters, Query
from service.domain.exports import COLUMNS, EXPORT_FORMATS, Column, Compression, ExportFormatName


class ExportRequest(Query):
    """A request for a bulk export."""

    format: ExportFormatName
    filter: Annotated[ExportFilters, Field(description="The filters of the results list. Default: all results")] = (
        ExportFilters()
    )
    compression: Annotated[
        Compression | None,
        Field(description="Compression of the file, or of the pages of a parquet file. Default: none (parquet: zstd)"),
    ] = None
    columns: Annotated[
        list[Column] | None, Field(min_length=1, description="Columns in the given order. Default: all columns")
    ] = None
    raw: Annotated[
        bool, Field(strict=True, description="Don't neutralize cells that spreadsheets interpret as formulas (csv)")
    ] = False

    @field_validator("columns")
    @classmethod
    def _check_unique(cls, columns: list[Column] | None) -> list[Column] | None:
        if columns and len(set(columns)) < len(columns):
            raise ValueError("must not contain a column twice")
        return columns

    def within_project(self, project_id: str) -> "ExportRequest":
        """Return the request restricted to one project."""
        return self.model_copy(update={"filter": self.filter.model_copy(update={"project_id": project_id})})

    def to_document(self) -> dict[str, Any]:
        """Return the document that is stored with the job, with all defaults filled in."""
        export_format = EXPORT_FORMATS[self.format]
        return {
            "format": self.format,
            "compression": self.compression or export_format.default_compression,
            "columns": list(self.columns or COLUMNS),
            "raw": self.raw,
            "filter": self.filter.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True),
        }
