"""The AsyncAPI document: its copy is up to date, its references lead somewhere, its example is an event."""

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
import yaml
from jsonschema import Draft202012Validator

from service.contracts.asyncapi import RUN_EVENT_EXAMPLE, document
from service.contracts.run_events import RUN_COMPLETED_EVENT
from service.domain.events import EVENT_TYPES

COPY = Path(__file__).parents[2] / "docs" / "asyncapi.yaml"
DOCUMENT = document(version("zof-results"))


def test_the_copy_is_what_the_contracts_say() -> None:
    assert yaml.safe_load(COPY.read_text()) == DOCUMENT, "run `make docs`"


def test_every_reference_leads_somewhere() -> None:
    for reference in re.findall(rb'"\$ref":"#/([^"]+)"', orjson.dumps(DOCUMENT)):
        place: Any = DOCUMENT
        for step in reference.decode().split("/"):
            place = place[step]


def test_the_example_is_a_valid_event_by_contract_and_by_schema() -> None:
    assert RUN_COMPLETED_EVENT.validate_python(RUN_EVENT_EXAMPLE)
    message = DOCUMENT["components"]["messages"]["runCompleted"]
    schema = {**message["payload"], "components": DOCUMENT["components"]}
    Draft202012Validator(_without_patterns(schema)).validate(RUN_EVENT_EXAMPLE)


def test_every_type_of_event_is_described() -> None:
    names = ", ".join(message["name"] for message in DOCUMENT["components"]["messages"].values())
    assert set(EVENT_TYPES) <= set(names.split(", "))


def _without_patterns(schema: Any) -> Any:
    """The patterns use \\p{C}, which the validator's own regular expressions lack."""
    if isinstance(schema, dict):
        return {name: _without_patterns(value) for name, value in schema.items() if name != "pattern"}
    return [_without_patterns(item) for item in schema] if isinstance(schema, list) else schema
