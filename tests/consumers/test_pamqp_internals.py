"""The internals of pamqp that the consumers use are those of the installed version."""

import struct
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pamqp import constants, decode, frame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from consumers import pamqp_internals
from consumers.pamqp_internals import UNDECODABLE, HeaderReader
from tests.internals import assert_unchanged

MODULE = "consumers/pamqp_internals.py"
SIZES = pamqp_internals._VALUE_SIZES
SIZED = pamqp_internals._SIZED_VALUES
KINDS = {kind[0] for kind in decode.TABLE_MAPPING}
ERRORS = pamqp_internals._DECODING_ERRORS
PROPERTIES = Basic.Properties(content_type="text/plain", headers={"key": "value"}, delivery_mode=2)
TIMESTAMP = datetime(2026, 5, 1, tzinfo=UTC)


def payload(properties: Basic.Properties) -> bytes:
    return frame.marshal(ContentHeader(0, 4, properties), 1)[constants.FRAME_HEADER_SIZE : -1]


def consumed(kind: int) -> int:
    """Return how many bytes after its type the library reads of a value."""
    value = bytes([kind]) + (struct.pack(">I", 0) if kind in SIZED else bytes(SIZES[kind]))
    return decode.embedded_value(value + bytes(16))[0] - 1


def is_known_error(work: Callable[[], object]) -> bool:
    try:
        work()
    except ERRORS:
        return True
    return False


def test_pamqp_has_the_internals_that_the_consumers_use() -> None:
    properties: Any = Basic.Properties
    decoded: Any = ContentHeader()
    decoded.unmarshal(payload(PROPERTIES))
    unreadable = payload(Basic.Properties(timestamp=TIMESTAMP)).replace(
        int(TIMESTAMP.timestamp()).to_bytes(8, "big"), b"\x7f" * 8
    )
    assert_unchanged(["pamqp"], MODULE, {
        "the types of values": lambda: {*SIZES, *SIZED} >= KINDS,
        "the sizes of values": lambda: all(consumed(kind) == SIZES[kind] for kind in KINDS - {*SIZED}),
        "the sizes of values with a length": lambda: {consumed(kind) for kind in SIZED} == {4},
        "the types of properties": lambda: (
            {properties.amqp_type(name) for name in properties.attributes()}
            == {"shortstr", "table", "octet", "timestamp"}
        ),
        "properties are in the order of their flags": lambda: (
            [properties.flags[name] for name in properties.attributes()] == [1 << bit for bit in range(15, 1, -1)]
        ),
        "decode.by_type": lambda: decode.by_type(b"\x04text", "shortstr") == (5, "text"),
        "ContentHeader reads the payload of its frame": lambda: (
            (decoded.body_size, decoded.properties) == (4, PROPERTIES)
        ),
        "the errors of decoding": lambda: is_known_error(lambda: ContentHeader().unmarshal(unreadable)),
        "properties can be set without validation": lambda: (
            HeaderReader().read(unreadable)[0].properties.headers == {UNDECODABLE: "timestamp"}
        ),
        "ContentBody and Heartbeat": lambda: (
            frame.marshal(ContentBody(b"a"), 1) == b"\x03\0\x01\0\0\0\x01a\xce"
            and frame.marshal(Heartbeat(), 0) == b"\x08\0\0\0\0\0\0\xce"
        ),
        "the types of frames": lambda: (
            (constants.FRAME_METHOD, constants.FRAME_HEADER, constants.FRAME_BODY) == (1, 2, 3)
        ),
        "Basic.Deliver.index": lambda: Basic.Deliver.index.to_bytes(4) == struct.pack(">HH", 60, 60),
    })  # fmt: skip
