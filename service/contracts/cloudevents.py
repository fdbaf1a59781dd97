"""CloudEvents 1.0 over AMQP: conversion of both content modes to the structured mode (JSON event format)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import orjson

STRUCTURED: Final = "application/cloudevents+json"
# The AMQP binding prefixes attributes with "cloudEvents:", or with "cloudEvents_" if a client doesn't support colons.
# The RabbitMQ binding prefixes them with "ce-". Names of AMQP headers are case-sensitive.
TRACE_ATTRIBUTES: Final = ("traceparent", "tracestate")  # of the distributed tracing extension
_TRACE_PARENT: Final = b'"traceparent"'
HEADER_PREFIXES: Final = ("cloudEvents:", "cloudEvents_", "ce-")


class ConflictingPrefixes(ValueError):
    """The headers of a message contain attributes with different prefixes."""


def to_structured_mode(body: bytes, content_type: str | None, headers: Mapping[str, Any]) -> bytes:
    """Return the event as one JSON object. In binary mode, the headers are the attributes and the body is `data`.

    Raises ConflictingPrefixes if the headers are those of several bindings.
    """
    if not headers or (content_type is not None and content_type.partition(";")[0].strip() == STRUCTURED):
        return body
    attributes = _attributes(headers)
    if "specversion" not in attributes:
        return body
    event = orjson.dumps(attributes)
    return event[:-1] + b',"data":' + (body or b"null") + b"}"


def trace_attributes(event: bytes) -> dict[str, str]:
    """Return the attributes of the distributed tracing extension: traceparent and tracestate, if the event has them.

    The event is in structured mode, and can be invalid.
    """
    if _TRACE_PARENT not in event:
        return {}
    try:
        attributes = orjson.loads(event)
    except orjson.JSONDecodeError:
        return {}
    found = attributes if isinstance(attributes, dict) else {}
    return {name: found[name] for name in TRACE_ATTRIBUTES if isinstance(found.get(name), str)}


def _attributes(headers: Mapping[str, Any]) -> dict[str, str]:
    prefixes = [prefix for prefix in HEADER_PREFIXES if any(name.startswith(prefix) for name in headers)]
    if len(prefixes) > 1:
        raise ConflictingPrefixes(
            f"headers: attributes have the prefixes {' and '.join(prefixes)}. Use one prefix for all attributes."
        )
    return {
        name[len(prefix) :]: _text(value)
        for prefix in prefixes
        for name, value in headers.items()
        if name.startswith(prefix)
    }


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()  # an AMQP timestamp, which has a time zone
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
