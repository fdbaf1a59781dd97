"""What generators of clients need from the OpenAPI document: shared, open, described schemas and valid examples."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import jsonschema_rs
import orjson
import pytest

from service.contracts.descriptions import FIELD_DESCRIPTIONS
from service.events.contract import envelope
from service.events.model import EVENT_TYPES, TEST
from service.events.operations import number_events
from service.http.errors import ERROR_TYPES
from service.states.update_states import StateUpdater
from service.webhooks.model import signed_headers
from tests.api.described import DOCUMENT, operations, resolve, strict_document
from tests.run_events import result, run_event
from tests.served import Api

SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
FILE = {"type": "string", "format": "binary"}


def references(item: Any) -> Iterator[str]:
    """Yield the names of the schemas to which the item refers, directly or not."""
    found, new = set[str](), set(_direct_references(item))
    while new:
        found |= new
        new = {name for known in new for name in _direct_references(SCHEMAS[known])} - found
    yield from found


def _direct_references(item: Any) -> Iterator[str]:
    if isinstance(item, dict) and str(item.get("$ref", "")).startswith("#/components/schemas/"):
        yield item["$ref"].rpartition("/")[2]
    elif isinstance(item, dict) and "$ref" in item:
        yield from _direct_references(resolve(item))
    for value in item.values() if isinstance(item, dict) else item if isinstance(item, list) else ():
        yield from _direct_references(value)


def objects(item: Any) -> Iterator[dict[str, Any]]:
    """Yield each schema of an object with properties in the item."""
    if isinstance(item, dict) and item.get("type") == "object" and "properties" in item:
        yield item
    for value in item.values() if isinstance(item, dict) else item if isinstance(item, list) else ():
        yield from objects(value)


def test_responses_are_open_and_requests_are_closed() -> None:
    bodies = [operation.get("requestBody", {}) for operation in operations().values()]
    requests = {name for body in bodies for name in references(body)}
    responses = {name for operation in operations().values() for name in references(operation["responses"])}
    published = set(references(DOCUMENT["webhooks"]))
    assert not requests & (responses | published)
    assert requests | responses | published == SCHEMAS.keys()
    for name, schema in SCHEMAS.items():
        for found in objects(schema):
            assert (found.get("additionalProperties") is False) == (name in requests), name


def test_absent_fields_of_requests_have_no_default_that_the_service_ignores() -> None:
    defaults = {
        name: {field: value["default"] for field, value in SCHEMAS[name]["properties"].items() if "default" in value}
        for name in SCHEMAS
        if name == "WebhookIn" or name.endswith("Patch")
    }
    patches = ("FailurePatch", "MemberPatch", "ProjectPatch", "PublisherPatch", "QuarantinePatch", "WebhookPatch")
    assert defaults == {
        "WebhookIn": {"events": [], "description": "", "enabled": True, "format": "standard"},
        **{patch: {} for patch in patches},
    }  # fmt: skip


def test_no_choice_that_can_be_null_has_a_default() -> None:
    """Go clients of openapi-generator don't compile with such a default."""
    for name, schema in SCHEMAS.items():
        for found in objects(schema):
            for field, value in found["properties"].items():
                assert not [item for item in value.get("anyOf", ()) if "default" in item], (name, field)


def test_schemas_of_generic_models_have_different_titles() -> None:
    titles = [schema["title"] for schema in SCHEMAS.values()]
    assert len(titles) == len(set(titles))


def test_limits_of_integers_are_keywords_of_json_schema() -> None:
    parameters = DOCUMENT["components"]["parameters"]
    integers = [parameter for parameter in parameters.values() if parameter["schema"].get("type") == "integer"]
    limit = parameters["PageQuery.limit"]["schema"]
    assert limit == {"type": "integer", "minimum": 1, "maximum": 1000, "default": 20}
    for parameter in integers:
        assert parameter["schema"].keys() <= {"type", "minimum", "maximum", "default", "format"}, parameter["name"]


def test_integers_that_32_bits_cannot_contain_have_a_format() -> None:
    """Go and Java clients of openapi-generator use 32 bits for an integer without a format."""
    formats = {
        name: [item.get("format") for item in (schema, *schema.get("anyOf", ())) if item.get("type") == "integer"]
        for name, schema in {
            "size": SCHEMAS["Artifact"]["properties"]["size"],
            "passed": SCHEMAS["Run"]["properties"]["counts"]["properties"]["passed"],
            "attempt": DOCUMENT["components"]["parameters"]["ReportQuery.attempt"]["schema"],
            "limit": DOCUMENT["components"]["parameters"]["PageQuery.limit"]["schema"],
        }.items()
    }
    assert formats == {"size": ["int64"], "passed": ["int64"], "attempt": ["int64"], "limit": [None]}


def test_every_operation_parameter_and_field_is_described() -> None:
    for name, operation in operations().items():
        assert operation["description"], name
        for parameter in operation["parameters"]:
            assert resolve(parameter)["description"], (name, parameter)
    for name, schema in SCHEMAS.items():
        for found in objects(schema):
            for field, value in found["properties"].items():
                assert value.get("description") or resolve(value).get("description"), (name, field)


def test_lists_describe_their_items_and_the_next_page() -> None:
    lists = {name: schema for name, schema in SCHEMAS.items() if "next_cursor" in schema.get("properties", ())}
    assert "RunComparison" in lists
    for name, schema in lists.items():
        assert schema["properties"]["data"]["items"].keys() == {"$ref"}, name
    assert "Link" in operations()["compare_run"]["responses"]["200"]["headers"]


def test_every_shared_description_is_used() -> None:
    used = orjson.dumps(DOCUMENT).decode()
    for name, description in FIELD_DESCRIPTIONS.items():
        assert orjson.dumps(description).decode() in used, name


def test_error_responses_are_shared_and_have_a_valid_example() -> None:
    validator = jsonschema_rs.validator_for(strict_document()["components"]["schemas"]["Error"] | {
        "components": strict_document()["components"]
    })  # fmt: skip
    by_code = {error.code: error for error in ERROR_TYPES if error.code != "method_not_allowed"}
    assert DOCUMENT["components"]["responses"].keys() == by_code.keys()
    for code, response in DOCUMENT["components"]["responses"].items():
        example = response["content"]["application/json"]["example"]
        validator.validate(example)
        assert example["error"]["code"] == code
    for operation in operations().values():
        for status, response in operation["responses"].items():
            has_own = {"get_readiness": "503", "exchange_token": "400"}.get(operation["operationId"]) == status
            if status >= "400" and not has_own:
                assert by_code[response["$ref"].rpartition("/")[2]].status == int(status)


def test_uploads_have_file_fields() -> None:
    content = operations()["upload_artifact"]["requestBody"]["content"]
    assert content == {"application/octet-stream": {"schema": FILE}}
    content = operations()["upload_report"]["requestBody"]["content"]
    assert content["application/octet-stream"]["schema"] == content["application/xml"]["schema"] == FILE
    fields = content["multipart/form-data"]["schema"]["properties"]
    assert {name: field["items"] for name, field in fields.items()} == {
        "report": FILE,
        "split": FILE,
        "owners": FILE,
        "attachment": FILE,
    }


def test_every_event_type_has_a_webhook_with_the_headers_of_its_requests() -> None:
    assert DOCUMENT["webhooks"].keys() == {*EVENT_TYPES, TEST}
    for name, methods in DOCUMENT["webhooks"].items():
        described = {resolve(parameter)["name"] for parameter in methods["post"]["parameters"]}
        assert described == signed_headers("evt_1", 0, b"", ["whsec_"]).keys(), name


async def test_published_events_match_the_payloads_of_webhooks(api: Api) -> None:
    await api.send("PUT", "/v1/gates/g", json={"policy": {"max_failures": 0}})
    await api.store.ingest(run_event("run_1", [result("pays", "failed", failure={"message": "no"})]))
    await api.send("POST", "/v1/runs/run_1/decisions", json={"gate": "g"})
    await api.send("POST", "/v1/quarantines", json={"project_id": "shop", "name": "pays", "reason": "issue 7"})
    hook = await (await api.send("POST", "/v1/webhooks", json={"url": "https://ci.example/hook"})).json()
    await api.send("POST", f"/v1/webhooks/{hook['id']}/test")
    for number, status in enumerate(["passed", *["failed"] * 3, "passed", "failed"]):
        completed_at = f"2026-06-01T12:0{number}:00Z"
        event = run_event(f"r{number}", [result(status=status)], branch="main", completed_at=completed_at)
        await api.store.ingest(event)
        await number_events(api.store.pool)
        await StateUpdater(api.store.pool).update()
    rows = await api.store.pool.fetch("SELECT event_id, type, data::text FROM events")
    assert {row["type"] for row in rows} == {
        "run.completed", "run.failed", "gate.decided", "release.gate_blocked", "quarantine.created", TEST,
        "case.broken", "case.recovered", "case.flaky", "failure_group.opened",
        "failure_group.resolved", "failure_group.recurred",
    }  # fmt: skip
    components = strict_document()["components"]
    for event_id, event_type, data in rows:
        [content] = DOCUMENT["webhooks"][event_type]["post"]["requestBody"]["content"].values()
        validator = jsonschema_rs.validator_for(content["schema"] | {"components": components})
        validator.validate(orjson.loads(envelope(event_id, event_type, datetime.now(UTC), data)))


def test_strict_schemas_reject_an_undocumented_field() -> None:
    schema = {"$ref": "#/components/schemas/EventData", "components": strict_document()["components"]}
    with pytest.raises(jsonschema_rs.ValidationError, match="other"):
        jsonschema_rs.validator_for(schema).validate({"object": {}, "other": 1})
