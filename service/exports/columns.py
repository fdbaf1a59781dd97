"""The columns of export files with their types. docs/exports.md is generated from these tables.

This module runs on Python 3.10 without third-party packages because the client uses it.
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, get_args

from service.runs.model import CONTEXT_FIELDS, STATED_FIELDS

ExportContent = Literal["results", "runs"]
ColumnType = Literal["text", "int16", "int32", "int64", "boolean", "time", "object", "array"]

# The types in Parquet files, as Arrow names them, and in JSON. In CSV, every value is text.
ARROW_TYPES: Final[Mapping[ColumnType, str]] = {
    "text": "string", "object": "string", "array": "string", "int16": "int16", "int32": "int32", "int64": "int64",
    "boolean": "bool", "time": "timestamp[us, tz=UTC]",
}  # fmt: skip
JSON_TYPES: Final[Mapping[ColumnType, str]] = {
    "text": "string", "object": "object", "array": "array", "int16": "number", "int32": "number", "int64": "number",
    "boolean": "boolean", "time": "string",
}  # fmt: skip
EXPORT_CONTENTS: Final[tuple[ExportContent, ...]] = get_args(ExportContent)


class ExportColumn(NamedTuple):
    """A column of an export file. A column that isn't nullable has a value in every row."""

    type: ColumnType
    nullable: bool
    description: str


_RUN_ID: Final = ExportColumn("text", False, "ID of the run, which the producer chose")
_PROJECT: Final = ExportColumn("text", False, "Project of the run")
# A text that a run doesn't state is null.
_STATED: Final[Mapping[str, ExportColumn]] = {
    name: ExportColumn("text", True, field.column or field.description)
    for name, field in STATED_FIELDS.items()
    if field.type != "labels"
}
_COMPLETED: Final = "Completion time in the first event of the run, which never changes"


def _in_every_run(type_: ColumnType, description: str) -> ExportColumn:
    """Return a column that has no value only in the row of a deleted run."""
    return ExportColumn(type_, True, description)


def _count_of(status: str) -> ExportColumn:
    return _in_every_run("int32", f"Number of {status} results")


_COLUMNS_OF_RESULTS: Final[Mapping[str, ExportColumn]] = {
    "id": ExportColumn("text", False, "ID of the result"),
    "run_id": _RUN_ID,
    "project_id": _PROJECT,
    "environment": _STATED["environment"],
    "branch": _STATED["branch"],
    "commit_sha": _STATED["commit_sha"],
    "ci_url": _STATED["ci_url"],
    "labels": ExportColumn("object", False, "Labels of the run"),
    "case": ExportColumn("text", False, "ID of the case"),
    "case_id": ExportColumn("text", True, "The producer's own ID of the case"),
    "variant": ExportColumn("object", False, "Pairs that distinguish executions of the same test in a matrix"),
    "suite": ExportColumn("text", False, "Suite of the case, which can be empty"),
    "name": ExportColumn("text", False, "Name of the case, which can be empty"),
    "file": ExportColumn("text", True, "File of the case"),
    "status": ExportColumn("text", False, "passed, failed, error, skipped, or canceled"),
    "flaky": ExportColumn("boolean", False, "Whether the result passed after a failing attempt"),
    "attempts": ExportColumn("int16", False, "Number of attempts"),
    "duration_ms": ExportColumn("int32", True, "Duration of the last attempt"),
    "started_at": ExportColumn("time", True, "Start of the last attempt"),
    "completed_at": ExportColumn("time", False, _COMPLETED),
    "failure_summary": ExportColumn("text", True, "First informative line of the failure"),
    "owners": ExportColumn("array", False, "Owners of the case"),
}
_COLUMNS_OF_RUNS: Final[Mapping[str, ExportColumn]] = {
    "run_id": _RUN_ID,
    "deleted": ExportColumn(
        "boolean", False, "Whether the run was deleted. Only exports with `updated_since` contain deleted runs"
    ),
    "project_id": _PROJECT,
    **{name: column for name, column in _STATED.items() if name not in CONTEXT_FIELDS},
    "labels": _in_every_run("object", "Labels of the run"),
    "status": _in_every_run("text", "passed, failed, error, or canceled"),
    "complete": _in_every_run("boolean", "Whether all expected results and shards have arrived"),
    "failures_missing": _in_every_run(
        "boolean", "Whether a report can't be read, or declares failing tests that it doesn't contain"
    ),
    "passed": _count_of("passed"),
    "failed": _count_of("failed"),
    "error": _count_of("error"),
    "skipped": _count_of("skipped"),
    "canceled": _count_of("canceled"),
    "flaky": _count_of("flaky"),
    "revision": _in_every_run("int32", "Version of the run, which every change increments"),
    "started_at": ExportColumn("time", True, "Start of the run"),
    "completed_at": _in_every_run("time", _COMPLETED),
    "last_completed_at": _in_every_run("time", "Latest completion time of the events of the run"),
    "duration_ms": ExportColumn("int64", True, "Time in which the parts of the run were executed, without pauses"),
    **{name: _STATED[name] for name in CONTEXT_FIELDS},
}
EXPORT_COLUMNS: Final[Mapping[str, Mapping[str, ExportColumn]]] = {
    "results": _COLUMNS_OF_RESULTS,
    "runs": _COLUMNS_OF_RUNS,
}
ANY_COLUMNS: Final = tuple(dict.fromkeys([*_COLUMNS_OF_RESULTS, *_COLUMNS_OF_RUNS]))


def columns_of(content: str) -> tuple[str, ...]:
    """Return the names of the columns of a content in their default order."""
    return tuple(EXPORT_COLUMNS[content])
