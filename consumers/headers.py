"""Headers of published messages: conversion of any received header to one that can be published."""

import struct
from collections.abc import Mapping
from typing import Any, Final

from pamqp import encode

from service.domain.texts import replace_unstorable

PRODUCER: Final = "x-producer-user-id"  # of a copy that the service publishes: the user of the original message
MAX_HEADER_BYTES: Final = 64 * 2**10  # of all headers; they share one frame of 128 KiB with the other properties

_MAX_DEPTH: Final = 20
_MAX_NAME_BYTES: Final = 128
_OMITTED: Final = "(omitted)"
_OMITTED_COUNT: Final = "x-omitted-headers"
_ENCODING_ERRORS: Final = (TypeError, ValueError, ArithmeticError, struct.error)

# Names of headers that brokers and consumers add. The original message didn't have them.
_ADDED: Final = (
    PRODUCER, "x-reason", "x-message", "x-queue", "x-delivery-count", "x-acquired-count",
    "x-death", "x-first-death-", "x-last-death-",
)  # fmt: skip


def original_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the headers that the producer set, ready to be published."""
    return encodable_headers({name: value for name, value in headers.items() if not name.startswith(_ADDED)})


def encodable_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return headers that AMQP can encode and that fit into a frame.

    A value that has no encoding becomes text. If the headers are too large, the largest ones are omitted and counted.
    """
    encodable = {_encodable_name(name): _encodable(value, _MAX_DEPTH) for name, value in headers.items()}
    sizes = {name: len(encode.field_table({name: value})) for name, value in encodable.items()}
    excess = sum(sizes.values()) - MAX_HEADER_BYTES
    omitted = 0
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if excess <= 0:
            break
        excess -= sizes[name]
        del encodable[name]
        omitted += 1
    return {**encodable, _OMITTED_COUNT: omitted} if omitted else encodable


def _encodable_name(name: str) -> str:
    encoded = replace_unstorable(name).encode()
    return encoded[:_MAX_NAME_BYTES].decode(errors="ignore")


def _encodable(value: Any, depth: int) -> Any:
    if isinstance(value, dict | list) and depth == 0:
        return _OMITTED
    if isinstance(value, dict):
        return {_encodable_name(name): _encodable(item, depth - 1) for name, item in value.items()}
    if isinstance(value, list):
        return [_encodable(item, depth - 1) for item in value]
    if isinstance(value, str):
        return replace_unstorable(value)
    if isinstance(value, bytes):
        return bytearray(value)  # long strings that aren't UTF-8 arrive as bytes
    return value if _keeps_value(value) else str(value)


def _keeps_value(value: Any) -> bool:
    """Return whether the encoding exists and is exact. Floats are encoded with 32 bits."""
    try:
        encode.encode_table_value(value)
        return (
            not isinstance(value, float) or value != value or struct.unpack(">f", struct.pack(">f", value))[0] == value
        )
    except _ENCODING_ERRORS:
        return False
