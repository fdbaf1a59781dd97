"""The form that requests an export, and the request of an earlier job that is repeated."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from multidict import MultiDict, MultiMapping
from pydantic import ValidationError

from service.api.http.parsing import parse_pairs
from service.console.form_states import FormState, without_blanks
from service.contracts.exports import ExportRequest
from service.contracts.queries import ExportFilters
from service.contracts.responses import Export
from service.domain.errors import Conflict

_OPTIONS: Final = ("format", "content", "compression")
_STATUS: Final = "status"
_FIELDS: Final = (*_OPTIONS, "run_id", "project_id", "branch", "environment", "from", "to")
FORMAT_TEXTS: Final[Mapping[str, str]] = {"csv": "CSV", "json": "JSON", "ndjson": "NDJSON", "parquet": "Parquet"}
FIELD_NAMES: Final = frozenset({*_FIELDS, _STATUS})


class ExportFormState(NamedTuple):
    """The values of the form, and the error of the request that sent it, if any."""

    fields: FormState
    statuses: list[str]


def export_values(given: MultiMapping[str]) -> ExportFormState:
    """Return the values of a form or query, without validation."""
    values = {name: given.get(name, "") for name in _FIELDS}
    return ExportFormState(FormState(values), given.getall(_STATUS, []))


def read_export_form(form: MultiDict[str]) -> ExportRequest:
    """Return the request of a form. A blank field is the same as none. Raises InvalidRequest."""
    given = without_blanks(form)
    options = MultiDict((name, value) for name, value in given.items() if name in _OPTIONS)
    filters = MultiDict((name, value) for name, value in given.items() if name not in _OPTIONS)
    filter_ = parse_pairs(filters, ExportFilters, "field")
    return parse_pairs(options, ExportRequest, "field").model_copy(update={"filter": filter_})


def request_again(job: Export) -> ExportRequest:
    """Return the request of a job. Raises Conflict if a job of an earlier version can't be requested again."""
    try:
        return ExportRequest.model_validate(
            {name: value for name, value in job.items() if name in ExportRequest.model_fields}
        )
    except ValidationError:
        raise Conflict("this version doesn't support the request of the export; request a new export") from None
