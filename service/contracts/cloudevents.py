"""CloudEvents 1.0 over AMQP: both content modes brought to the to_structured_mode one (JSON event format)."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

STRUCTURED: Final = "application/cloudevents+json"
# The AMQP binding writes "cloudEvents:", and "cloudEvents_" where a colon is not to be had.
_PREFIXES: Final = ("cloudEvents:", "cloudEvents_")


def to_structured_mode(body: bytes, content_type: str | None, headers: Mapping[str, Any]) -> bytes:
    """The event as one JSON object, whichever mode it came in. A binary-mode body is its `data`, as JSON."""
    if content_type is not None and content_type.partition(";")[0].strip() == STRUCTURED:
        return body
    attributes = _attributes(headers)
    if "specversion" not in attributes:
        return body
    envelope = orjson.dumps(attributes)
    return envelope[:-1] + b',"data":' + (body or b"null") + b"}"


def _attributes(headers: Mapping[str, Any]) -> dict[str, str]:
    return {
        name[len(prefix) :]: value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        for name, value in headers.items()
        for prefix in _PREFIXES
        if name.startswith(prefix)
    }
