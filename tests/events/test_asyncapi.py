"""The AsyncAPI document: its copy is current, its references resolve, and its example is valid."""

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson
import yaml

from service.events.asyncapi import RUN_EVENT_EXAMPLE, document
from service.events.model import EVENT_TYPES
from service.ingest.contract import HEADER_PREFIXES, RUN_COMPLETED_EVENT

COPY = Path(__file__).parents[2] / "docs" / "asyncapi.yaml"
DOCUMENT = document(version("zof-results"))


def test_committed_copy_is_current() -> None:
    assert yaml.safe_load(COPY.read_text()) == DOCUMENT, "run `make docs`"


def test_every_reference_resolves() -> None:
    for reference in re.findall(rb'"\$ref":"#/([^"]+)"', orjson.dumps(DOCUMENT)):
        target: Any = DOCUMENT
        for step in reference.decode().split("/"):
            target = target[step]


def test_example_is_valid_by_contract_and_by_schema() -> None:
    assert RUN_COMPLETED_EVENT.validate_python(RUN_EVENT_EXAMPLE)
    message = DOCUMENT["components"]["messages"]["runCompleted"]
    schema = {**message["payload"], "components": DOCUMENT["components"]}
    jsonschema_rs.validator_for(schema).validate(RUN_EVENT_EXAMPLE)


def test_every_prefix_of_headers_is_described() -> None:
    description = DOCUMENT["channels"]["runs"]["description"]
    assert all(f"`{prefix}`" in description for prefix in HEADER_PREFIXES)


def test_every_event_type_is_described_once() -> None:
    published = {key: message for key, message in DOCUMENT["components"]["messages"].items() if key != "runCompleted"}
    types = [name for message in published.values() for name in message["name"].split(", ")]
    assert sorted(types) == sorted(EVENT_TYPES)
    for message in published.values():
        assert all(f"`{name}`" in message["description"] for name in message["name"].split(", "))
