"""The internals of pamqp that the consumers use. Another version can change them without notice.

Review this module before the version bound in pyproject.toml is raised. tests/consumers/test_pamqp_internals.py names
what has changed.

A timestamp in nanoseconds, a name that isn't UTF-8, or a deeply nested table makes the client library close the
connection; the broker then delivers the same message again, indefinitely. So this module repairs such a header.
"""

import struct
from typing import Final

from pamqp import decode
from pamqp.commands import Basic
from pamqp.common import FieldTable, FieldValue
from pamqp.header import ContentHeader

from consumers.messages import encodable_headers

UNDECODABLE: Final = "x-undecodable"  # the header that names removed properties and headers

_HEADER_START: Final = struct.Struct(">HHQH")  # class, weight, size of the body, flags of the properties
_PROPERTIES_START: Final = struct.calcsize(">HHQ")  # after the class, the weight, and the size of the body
_MORE_FLAGS: Final = 1  # a second word of flags, which AMQP 0-9-1 doesn't define
_VALUE_SIZES: Final = {
    **dict.fromkeys(b"tbB", 1), **dict.fromkeys(b"suU", 2), **dict.fromkeys(b"ifI", 4),
    **dict.fromkeys(b"lLdT", 8), **dict.fromkeys(b"V\0", 0), ord("D"): 5,
}  # fmt: skip
_SIZED_VALUES: Final = b"SxAF"
_PROPERTY_SIZES: Final = {"octet": 1, "timestamp": 8}
_DECODING_ERRORS: Final = (ValueError, ArithmeticError, LookupError, TypeError, RecursionError, struct.error)


class HeaderReader:
    """Reads the headers of messages. It keeps the last properties, because the next message often has the same ones."""

    def __init__(self) -> None:
        self._decodable: bytes | None = None  # properties of the last message that the library can decode
        self._decoded = Basic.Properties()  # the decoded form of `_decodable`

    def read(self, payload: bytes) -> tuple[ContentHeader, bool]:
        """Return the header in the payload of its frame, and whether it's repaired."""
        properties = payload[_PROPERTIES_START:]
        if properties == self._decodable:
            _, weight, body_size, _ = _HEADER_START.unpack_from(payload)
            return ContentHeader(weight, body_size, self._decoded), False
        header = _try_to_decode(payload)
        if header is None:
            return _repaired(payload), True
        self._decodable, self._decoded = properties, header.properties
        return header, False


def _try_to_decode(payload: bytes) -> ContentHeader | None:
    """Return the header, or None if the library can't decode it or its properties."""
    header = ContentHeader()
    try:
        header.unmarshal(payload)
        float(header.properties.expiration or 0)
    except _DECODING_ERRORS:
        return None
    return header if header.properties.delivery_mode in (None, 0, 1, 2) else None


def _repaired(payload: bytes) -> ContentHeader:
    """Return the header of the message with the properties that can be decoded."""
    _, weight, body_size, flags = _HEADER_START.unpack_from(payload)
    properties, removed = _read_properties(flags, payload[_HEADER_START.size :])
    properties.headers = encodable_headers({**(properties.headers or {}), UNDECODABLE: ", ".join(removed)})
    return ContentHeader(weight, body_size, properties)


def _read_properties(flags: int, data: bytes) -> tuple[Basic.Properties, list[str]]:
    properties, removed = Basic.Properties(), []
    if flags & _MORE_FLAGS:
        return properties, ["properties"]
    for name in Basic.Properties.attributes():
        if not flags & Basic.Properties.flags[name]:
            continue
        kind = Basic.Properties.amqp_type(name)
        size = _property_size(kind, data)
        value, data = data[:size], data[size:]
        if name == "headers":
            properties.headers, removed_headers = _read_table(value[4:])
            removed += removed_headers
        elif not _set_property(properties, name, kind, value):
            removed.append(name)
    return properties, removed


def _property_size(kind: str, data: bytes) -> int:
    if kind == "table":
        return 4 + int.from_bytes(data[:4], "big")
    return _PROPERTY_SIZES.get(kind) or 1 + int.from_bytes(data[:1], "big")


def _set_property(properties: Basic.Properties, name: str, kind: str, value: bytes) -> bool:
    """Set a property. Return False, and leave it unset, if it can't be decoded or isn't valid."""
    try:
        _, decoded = decode.by_type(value, kind)
        if name == "expiration":
            float(str(decoded))
    except _DECODING_ERRORS:
        return False
    if name == "delivery_mode" and decoded not in (1, 2):
        return False
    setattr(properties, name, decoded)
    return True


def _read_table(data: bytes) -> tuple[FieldTable, list[str]]:
    """Return the entries of a table that can be decoded, and the names of the others."""
    table: FieldTable = {}
    removed: list[str] = []
    while data:
        key, data = data[1 : 1 + data[0]].decode(errors="replace"), data[1 + data[0] :]
        size = _value_size(data)
        if size is None:
            return table, [*removed, key, "headers after it"]
        try:
            table[key] = _read_value(data[: 1 + size])
        except _DECODING_ERRORS:
            removed.append(key)
        data = data[1 + size :]
    return table, removed


def _value_size(data: bytes) -> int | None:
    """Return the size of the value after its type byte, or None if the type is unknown."""
    if data[:1] and data[0] in _SIZED_VALUES:
        return 4 + int.from_bytes(data[1:5], "big")
    return _VALUE_SIZES.get(data[0]) if data else None


def _read_value(data: bytes) -> FieldValue:
    """Return the value. A timestamp that isn't in seconds or milliseconds becomes a number."""
    try:
        return decode.embedded_value(data)[1]
    except _DECODING_ERRORS:
        if data[:1] != b"T":
            raise
        return int.from_bytes(data[1:9], "big", signed=True)
