"""The stored document of an export request.

The API model of a request can change between versions. This model also reads the documents of earlier versions, so that
the file of an old job stays available.
"""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from service.contracts.validation import describe_error, field_path, validation_errors
from service.domain.errors import ServiceError
from service.domain.export_columns import EXPORT_CONTENTS, ExportContent, columns_of
from service.domain.exports import COMPRESSIONS, EXPORT_FORMATS, ExportSpec, FileFormat
from service.domain.filters import read_stored_filter


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
