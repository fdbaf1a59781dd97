"""CloudEvents 1.0 over AMQP: conversion of both content modes to the structured mode (JSON event format)."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

STRUCTURED: Final = "application/cloudevents+json"
# The AMQP binding prefixes attributes with "cloudEvents:", or with "cloudEvents_" if a client doesn't support colons.
_PREFIXES: Final = ("cloudEvents:", "cloudEvents_")


def to_structured_mode(body: bytes, content_type: str | None, headers: Mapping[str, Any]) -> bytes:
    """Return the event as one JSON object. In binary mode, the headers are the attributes and the body is `data`."""
    if content_type is not None and content_type.partition(";")[0].strip() == STRUCTURED:
        return body
    attributes = _attributes(headers)
    if "specversion" not in attributes:
        return body
    event = orjson.dumps(attributes)
    return event[:-1] + b',"data":' + (body or b"null") + b"}"


def _attributes(headers: Mapping[str, Any]) -> dict[str, str]:
    return {
        name[len(prefix) :]: value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        for name, value in headers.items()
        for prefix in _PREFIXES
        if name.startswith(prefix)
    }
