"""Query models: their filters are generated from the declarations."""

from typing import Any

import pytest
from pydantic import ValidationError

from service.contracts.queries import ExportFilters, HistoryQuery, ResultQuery, RunQuery
from service.contracts.validation import describe_error
from service.domain.filters import ResultFilter, RunFilter


def error_of(model: Any, values: dict[str, Any]) -> tuple[Any, str]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(values)
    [error] = caught.value.errors()
    return error["loc"], describe_error(error)


def test_query_returns_its_filter() -> None:
    runs = RunQuery.model_validate({"status": ["failed"], "branch": "main", "limit": "5"})
    assert (runs.to_filter(), runs.limit) == (RunFilter(statuses=("f",), branch="main"), 5)
    results = ResultQuery.model_validate({"run_id": "run_1", "suite": "", "status": ["error", "failed", "error"]})
    assert results.to_filter() == ResultFilter(statuses=("e", "f"), run_id="run_1", suite="")


def test_filter_of_another_list_is_rejected() -> None:
    assert error_of(RunQuery, {"suite": "auth"})[0] == ("suite",)
    assert error_of(HistoryQuery, {"project_id": "shop"})[0] == ("project_id",)


def test_suite_requires_run_id() -> None:
    assert error_of(ResultQuery, {"suite": "auth"}) == (("suite",), "requires run_id")
    assert ExportFilters.model_validate({"suite": None}).to_filter() == ResultFilter()


def test_filters_of_the_cases_of_a_run_require_run_id() -> None:
    for name, value in (("variant", ["os:linux"]), ("q", "pays")):
        assert error_of(ResultQuery, {name: value}) == ((name,), "requires run_id")
        assert error_of(ExportFilters, {name: value}) == ((name,), "requires run_id")
        assert ResultQuery.model_validate({name: value, "run_id": "run_1"}).to_filter().run_id == "run_1"


def test_export_accepts_one_status_or_a_list_that_is_not_empty() -> None:
    for status in ("failed", ["failed"]):
        filters = ExportFilters.model_validate({"status": status})
        assert filters.to_filter() == ResultFilter(statuses=("f",))
        assert filters.model_dump(exclude_unset=True) == {"status": ["failed"]}
    assert error_of(ExportFilters, {"status": []}) == (("status",), "must not be empty")


def test_query_accepts_the_text_of_a_boolean_and_an_export_only_a_boolean() -> None:
    assert ResultQuery.model_validate({"flaky": "false"}).to_filter() == ResultFilter(flaky=False)
    assert ExportFilters.model_validate({"flaky": True}).model_dump(mode="json", exclude_unset=True) == {"flaky": True}
    assert error_of(ExportFilters, {"flaky": "true"}) == (("flaky",), "must be true or false")


def test_stored_filters_keep_the_time_that_the_client_sent() -> None:
    filters = ExportFilters.model_validate({"from": "2026-05-20T14:00:00.5+02:00", "to": "2026-05-21"})
    dumped = filters.model_dump(mode="json", exclude_unset=True)
    assert dumped == {"from": "2026-05-20T12:00:00.500000Z", "to": "2026-05-21T00:00:00Z"}
