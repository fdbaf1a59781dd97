"""Messages of validation errors state the expected value."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from service.api.routes import all_routes
from service.contracts.validation import describe_error, validation_errors
from service.ingest.contract import DATAREF_EVENT, RUN_COMPLETED_EVENT
from tests.run_events import result, run_event

MODELS = {model for route in all_routes() for model in (route.operation.query, route.operation.body) if model}
INVALID: tuple[Any, ...] = (
    None, "", "\0", "x" * 5_000, "no\nway", True, -1, 1.5, 10**30, float("nan"), [], ["x"], ["x"] * 200, {}, {"x": 1},
    b"\xff", "2026-02-30", "2026-05-20T12:00:00",
)  # fmt: skip


def invalid_events() -> Iterator[Any]:
    for value in INVALID:
        yield value
        for name in RUN_COMPLETED_EVENT.json_schema()["properties"]:
            yield run_event() | {name: value}
        for name in RUN_COMPLETED_EVENT.json_schema()["$defs"]["RunIn"]["properties"]:
            yield run_event(**{name: value})
        for name in RUN_COMPLETED_EVENT.json_schema()["$defs"]["ResultIn"]["properties"]:
            yield run_event(results=[result("x") | {name: value}])
        yield run_event(results=[result("x") | {"artifacts": [{"sha256": value, "size": value, "kind": value}]}])


def errors_of(validate: Callable[[Any], Any], value: Any) -> list[Any]:
    try:
        validate(value)
    except ValidationError as error:
        return validation_errors(error)
    return []


@pytest.mark.parametrize("model", sorted(MODELS, key=str))
def test_every_error_of_a_request_has_a_message(model: type[BaseModel]) -> None:
    fields = [field.alias or name for name, field in model.model_fields.items()]
    invalid = [{name: value} for name, value in itertools.product([*fields, "unknown"], INVALID)]
    found = [error_ for value in [{}, 7, *invalid] for error_ in errors_of(model.model_validate, value)]
    assert found
    assert [error_ for error_ in found if describe_error(error_) == error_["msg"]] == []


@pytest.mark.parametrize("model", sorted(MODELS, key=str))
def test_every_error_of_a_request_names_the_field_as_the_client_wrote_it(model: type[BaseModel]) -> None:
    """The location of an error must not contain members of a union, such as `literal['run.completed',…]`."""
    fields = [field.alias or name for name, field in model.model_fields.items()]
    for name, value in itertools.product(fields, (*INVALID, ["", "a"], [["x"]], {"a": 1, "from": [1], "status": [1]})):
        for error_ in errors_of(model.model_validate, {name: value}):
            assert is_written(error_["loc"], {name: value}, is_missing=error_["type"] == "missing"), error_


def is_written(loc: Sequence[int | str], given: Any, *, is_missing: bool) -> bool:
    """Return whether the location is one of the value that the client sent. A missing field is not in its object."""
    for part in loc[:-1] if is_missing else loc:
        try:
            given = given[part]
        except (LookupError, TypeError):
            return False
    return True


def test_every_error_of_an_event_has_a_message() -> None:
    invalid = itertools.product([RUN_COMPLETED_EVENT.validate_python, DATAREF_EVENT.validate_python], invalid_events())
    found = [error_ for validate, event in invalid for error_ in errors_of(validate, event)]
    assert {error_["type"] for error_ in found if describe_error(error_) == error_["msg"]} == set()


@pytest.mark.parametrize(
    ("error_", "message"),
    [
        ({"type": "string_too_short", "ctx": {"min_length": 1}}, "must not be empty"),
        ({"type": "string_too_short", "ctx": {"min_length": 3}}, "must have at least 3 characters"),
        ({"type": "string_pattern_mismatch", "ctx": {"pattern": "^x$"}, "msg": "unchanged"}, "unchanged"),
        ({"type": "of_a_later_pydantic", "msg": "unchanged"}, "unchanged"),
        ({"type": "value_error", "ctx": {"error": ValueError("in {braces}")}}, "in {braces}"),
    ],
)
def test_other_errors_have_the_message_of_pydantic(error_: Any, message: str) -> None:
    assert describe_error(error_) == message
