"""Stored export documents stay readable when the API model of a request changes."""

from datetime import UTC, datetime
from typing import Any

import pytest

from service.exports.contract import ExportRequest, StoredExport, UnsupportedExport

CREATED_AT = datetime(2026, 5, 20, tzinfo=UTC)


def document(**changes: Any) -> dict[str, Any]:
    request = ExportRequest.model_validate({"format": "csv", "compression": "gzip", "filter": {"run_id": "run_1"}})
    return request.to_document() | changes


def test_stored_request_specifies_the_requested_file() -> None:
    request = {"format": "csv", "columns": ["name", "id"], "filter": {"status": ["failed"], "from": "2026-05-01"}}
    spec = StoredExport.of_document(ExportRequest.model_validate(request).to_document()).to_spec()
    assert (spec.columns, spec.raw, spec.filter.statuses) == (("name", "id"), False, ("f",))
    assert spec.filter.from_ms == 1_777_593_600_000


@pytest.mark.parametrize(
    "changes",
    [
        {"columns": ["id", "removed_column"]},
        {"filter": {"run_id": "run_1", "removed_filter": "x"}},
        {"filter": {"run_id": "run_1", "branch": "b" * 10_000}},
        {"added_field": 1},
    ],
)
def test_file_of_an_old_request_stays_available(changes: dict[str, Any]) -> None:
    stored = StoredExport.of_document(document(**changes))
    assert stored.file_name(CREATED_AT) == "results-run_1.csv.gz"
    assert stored.file_format.media_type == "application/gzip"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": ["id", "removed_column"]}, "columns: this version doesn't support removed_column"),
        ({"filter": {"removed_filter": "x"}}, "filter: unknown filters: removed_filter"),
        ({"format": "removed"}, "format: this version doesn't support removed"),
    ],
)
def test_request_that_is_no_longer_supported_fails_with_its_reason(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedExport, match=message):
        StoredExport.of_document(document(**changes)).to_spec()
