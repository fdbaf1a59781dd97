"""Exports as clients ask for them. What jobs look like is written by store/sql/read_exports.sql."""

from typing import Annotated, Any

from pydantic import Field, field_validator

from service.contracts.queries import ExportFilters, Query
from service.domain.exports import COLUMNS, Column, Compression, ExportOrder, Format


class ExportRequest(Query):
    """A bulk export to be made."""

    format: Format
    filter: Annotated[ExportFilters, Field(description="As in the list of results; without any, everything")] = (
        ExportFilters()
    )
    compression: Annotated[Compression | None, Field(description="Of the file; of the pages in parquet (zstd)")] = None
    columns: Annotated[list[Column] | None, Field(min_length=1, description="In this order; by default all")] = None
    raw: Annotated[bool, Field(strict=True, description="Leave cells that look like formulas as they are (csv)")] = (
        False
    )

    @field_validator("columns")
    @classmethod
    def _named_once(cls, columns: list[Column] | None) -> list[Column] | None:
        if columns and len(set(columns)) < len(columns):
            raise ValueError("must not name a column twice")
        return columns

    def to_order(self) -> ExportOrder:
        """What the job has to deliver."""
        default: Compression = "zstd" if self.format == "parquet" else "none"
        columns = tuple(self.columns or COLUMNS)
        return ExportOrder(
            self.format, self.compression or default, columns, self.raw or self.format != "csv", self.filter.to_filter()
        )

    def restrict_to_project(self, project_id: str) -> "ExportRequest":
        """The same for one project alone."""
        return self.model_copy(update={"filter": self.filter.model_copy(update={"project_id": project_id})})

    def to_document(self) -> dict[str, Any]:
        """As it is kept with the job: what was asked for, with the defaults written out."""
        order = self.to_order()
        asked = self.filter.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
        return {
            "format": order.format,
            "compression": order.compression,
            "columns": list(order.columns),
            "raw": self.raw,
            "filter": asked,
        }
