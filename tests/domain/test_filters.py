"""Filters: one declaration for query parameters, exports, options, and SQL parameters."""

from typing import Any, get_args

import pytest

from service.domain.filter_types import BooleanType, CommitType, IntegerType, StatusType
from service.domain.filters import (
    FilteredList,
    ResultFilter,
    RunFilter,
    build_filter,
    filter_parameters,
    read_stored_filter,
    restrict_to_project,
)
from service.domain.ids import CaseKey
from service.domain.statuses import RESULT_STATUSES, RUN_STATUSES

VALUES: dict[str, Any] = {
    "status": ["failed", "error"],
    "from": "2026-05-20T00:00:00Z",
    "to": "2026-05-21T12:00:00.000001Z",
    "project_id": "shop",
    "environment": "staging",
    "branch": "main",
    "commit_sha": "c0ffee1",
    "label": ["team:web", "a:b:c"],
    "min_duration_ms": 5,
    "variant": ["os:linux"],
    "q": " pays  Card pays",
    "sort": "suite",
    "flaky": False,
    "run_id": "run_1",
    "case": "case_ffffffffffffffff",
    "case_id": "tc_1",
    "suite": "",
}


def test_every_filter_is_converted_for_queries() -> None:
    assert build_filter(ResultFilter, VALUES) == ResultFilter(
        statuses=("e", "f"), from_ms=1_779_235_200_000, to_ms=1_779_364_800_001, project_id="shop",
        environment="staging", branch="main", flaky=False, run_id="run_1", case_key=CaseKey(-1), case_id="tc_1",
        suite="", commit_sha="c0ffee1", labels=('{"a":"b:c"}', '{"team":"web"}'), min_duration_ms=5,
        variants=('{"os":"linux"}',), words=("Card", "pays"), sort="suite",
    )  # fmt: skip


def test_all_statuses_are_no_filter() -> None:
    assert build_filter(RunFilter, {"status": ["passed", "failed", "error", "canceled"]}) == RunFilter()
    assert build_filter(ResultFilter, {"status": ["passed", "failed", "error", "canceled"]}) != ResultFilter()


def test_every_list_has_its_filters() -> None:
    names = {
        list_name: {parameter.name for parameter in filter_parameters(list_name)}
        for list_name in get_args(FilteredList)
    }
    of_runs = {"status", "from", "to", "project_id", "environment", "branch", "commit_sha", "label", "flaky"}
    of_results = of_runs | {
        "run_id",
        "case",
        "case_id",
        "suite",
        "min_duration_ms",
        "variant",
        "q",
        "sort",
        "fingerprint",
        "owner",
    }
    assert names == {
        "runs": of_runs | {"pull_request", "pipeline", "author", "trusted"},
        "results": of_results | {"trusted"},
        "exports": of_results | {"trusted"},
        "history": of_runs - {"project_id", "commit_sha", "label"},
        "failures": {"project_id", "run_id", "owner", "branch", "from", "to"},
    }


def test_required_filter_is_declared_before_the_filter_that_requires_it() -> None:
    for list_name in get_args(FilteredList):
        seen: set[str] = set()
        for parameter in filter_parameters(list_name):
            assert parameter.requires is None or parameter.requires in seen
            seen.add(parameter.name)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("status", "bad", "must be one of passed, failed, error, skipped, canceled"),
        ("from", "yesterday", "must be a date or an RFC 3339 time"),
        ("from", 5, "must be a date or an RFC 3339 time"),
        ("branch", "", "must not be empty"),
        ("branch", "b" * 401, "must have at most 400 characters"),
        ("branch", 5, "must be a string"),
        ("branch", "\0", "must not contain NUL"),
        ("branch", "\ud800", "must be UTF-8 text"),
        ("commit_sha", "c0ffee", "must be the first 7 to 64 hex digits of a commit"),
        ("commit_sha", "c0ffee1g", "must be the first 7 to 64 hex digits of a commit"),
        ("commit_sha", "c" * 65, "must be the first 7 to 64 hex digits of a commit"),
        ("label", "team", "must be name:value"),
        ("variant", "linux", "must be key:value"),
        ("sort", "duration_ms", "must be one of -duration_ms, suite"),
        ("q", " ", "must have 1 to 5 words"),
        ("q", "a b c d e f", "must have 1 to 5 words"),
        ("q", "a" * 1001, "must have at most 1000 characters"),
        ("min_duration_ms", "5", "must be an integer"),
        ("min_duration_ms", True, "must be an integer"),
        ("min_duration_ms", -1, "must be 0 to 2147483647"),
        ("min_duration_ms", 2**31, "must be 0 to 2147483647"),
        ("flaky", "true", "must be true or false"),
        ("flaky", 1, "must be true or false"),
        ("case", "case_7", "must be case_ followed by 16 hex digits"),
        ("fingerprint", "fp2_" + "0" * 16, "must be fp1_ followed by 16 hex digits"),
    ],
)
def test_invalid_value_is_rejected_with_what_it_must_be(name: str, value: object, problem: str) -> None:
    [parameter] = [parameter for parameter in filter_parameters("results") if parameter.name == name]
    with pytest.raises(ValueError, match=problem):
        parameter.type.parse(value)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False)])
def test_text_of_a_boolean_is_converted(text: str, value: bool) -> None:
    assert BooleanType().parse_text(text) is value
    assert BooleanType().parse(value) is value


@pytest.mark.parametrize("text", ["True", "1", "", "yes"])
def test_other_text_is_not_a_boolean(text: str) -> None:
    with pytest.raises(ValueError, match="must be true or false"):
        BooleanType().parse_text(text)


def test_text_of_an_integer_is_converted() -> None:
    integer = IntegerType(0, 10)
    assert (integer.parse_text("0"), integer.parse_text("10")) == (0, 10)
    for text in ("1_0", "1.5", " 1", "", "1" * 19, "\u0661"):
        with pytest.raises(ValueError, match="must be an integer"):
            integer.parse_text(text)


def test_both_spellings_of_canceled_are_accepted() -> None:
    for choices in (RESULT_STATUSES, RUN_STATUSES):
        assert StatusType(choices).parse("cancelled") == "canceled"
    assert StatusType(("passed",)).schema["enum"] == ["passed"]


def test_commit_is_compared_in_lower_case() -> None:
    assert CommitType().parse("C0FFEE1") == "c0ffee1"


def test_failing_results_are_never_flaky() -> None:
    assert ResultFilter(flaky=True, statuses=("f",)).excludes_all
    assert not ResultFilter(flaky=True, statuses=("f", "p")).excludes_all
    assert not ResultFilter(flaky=False, statuses=("f",)).excludes_all


def test_stored_export_stays_readable_if_fewer_values_are_accepted_now() -> None:
    assert read_stored_filter({"branch": "b" * 10_000, "suite": "s"}) == ResultFilter(branch="b" * 10_000, suite="s")


def test_stored_export_with_an_unknown_filter_is_rejected() -> None:
    """If a filter was ignored, the export would contain too much."""
    with pytest.raises(ValueError, match="unknown filters: planet"):
        read_stored_filter({"branch": "main", "planet": "earth"})


def test_key_of_a_project_sees_only_that_project() -> None:
    assert restrict_to_project(RunFilter(), None) == RunFilter()
    assert restrict_to_project(RunFilter(), "shop") == RunFilter(project_id="shop")
    assert restrict_to_project(RunFilter(project_id="shop"), "shop") == RunFilter(project_id="shop")
    assert restrict_to_project(RunFilter(project_id="blog"), "shop") is None
