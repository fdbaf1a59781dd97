"""Whatever is wrong with a request or an event is said in our words, which name what is allowed."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from service.api.routes import all_routes
from service.contracts.run_events import DATAREF_EVENT, RUN_COMPLETED_EVENT
from service.contracts.validation import describe_error, validation_errors
from tests.run_events import result, run_event

MODELS = {model for route in all_routes() for model in (route.operation.query, route.operation.body) if model}
WRONG: tuple[Any, ...] = (
    None, "", "\0", "x" * 5_000, "no\nway", True, -1, 1.5, 10**30, float("nan"), [], ["x"], ["x"] * 200, {}, {"x": 1},
    b"\xff", "2026-02-30", "2026-05-20T12:00:00",
)  # fmt: skip


def wrong_events() -> Iterator[Any]:
    for value in WRONG:
        yield value
        for name in RUN_COMPLETED_EVENT.json_schema()["properties"]:
            yield run_event() | {name: value}
        for name in RUN_COMPLETED_EVENT.json_schema()["$defs"]["RunIn"]["properties"]:
            yield run_event(**{name: value})
        for name in RUN_COMPLETED_EVENT.json_schema()["$defs"]["ResultIn"]["properties"]:
            yield run_event(results=[result("x") | {name: value}])
        yield run_event(results=[result("x") | {"artifacts": [{"sha256": value, "size": value, "kind": value}]}])


def faults(validate: Callable[[Any], Any], value: Any) -> list[Any]:
    try:
        validate(value)
    except ValidationError as error:
        return validation_errors(error)
    return []


@pytest.mark.parametrize("model", sorted(MODELS, key=str))
def test_every_fault_of_a_request_has_words_of_ours(model: type[BaseModel]) -> None:
    fields = [field.alias or name for name, field in model.model_fields.items()]
    wrong = [{name: value} for name, value in itertools.product([*fields, "unknown"], WRONG)]
    found = [fault for value in [{}, 7, *wrong] for fault in faults(model.model_validate, value)]
    assert found
    assert [fault for fault in found if describe_error(fault) == fault["msg"]] == []


def test_every_fault_of_an_event_has_words_of_ours() -> None:
    wrong = itertools.product([RUN_COMPLETED_EVENT.validate_python, DATAREF_EVENT.validate_python], wrong_events())
    found = [fault for validate, event in wrong for fault in faults(validate, event)]
    assert {fault["type"] for fault in found if describe_error(fault) == fault["msg"]} == set()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"type": "string_too_short", "ctx": {"min_length": 1}}, "must not be empty"),
        ({"type": "string_too_short", "ctx": {"min_length": 3}}, "must have at least 3 characters"),
        ({"type": "string_pattern_mismatch", "ctx": {"pattern": "^x$"}, "msg": "as it is"}, "as it is"),
        ({"type": "of_a_later_pydantic", "msg": "as it is"}, "as it is"),
        ({"type": "value_error", "ctx": {"error": ValueError("in {braces}")}}, "in {braces}"),
    ],
)
def test_what_we_have_no_words_for_is_said_in_those_of_pydantic(fault: Any, said: str) -> None:
    assert describe_error(fault) == said
