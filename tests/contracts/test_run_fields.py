"""The public models state the fields of a run that RunRow declares."""

from typing import Any

import pytest

from service.events.contract import RunObject
from service.ingest.contract import RunIn
from service.reports.contract import ReportQuery
from service.runs.contract import Run, RunContext
from service.runs.model import CONTEXT_FIELDS, STATED_FIELDS, RunRow


def test_public_run_has_the_fields_of_the_row_in_their_order() -> None:
    times = {"started_ms": "started_at", "completed_ms": "completed_at", "last_completed_ms": "last_completed_at"}
    assert list(Run.__annotations__) == ["id", *(times.get(name, name) for name in RunRow._fields[1:])]
    assert tuple(RunContext.__annotations__) == CONTEXT_FIELDS


@pytest.mark.parametrize("model", [RunIn, ReportQuery, RunObject])
def test_models_have_each_stated_field(model: Any) -> None:
    other = {"ci_url"} if model is RunObject else set()  # one of its links
    fields = model.model_fields if model is ReportQuery else model.__annotations__
    assert STATED_FIELDS.keys() - fields.keys() == other
