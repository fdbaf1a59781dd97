"""The reader of AMQP frames, which assembles messages and repairs frames that the client library can't decode.

A timestamp in nanoseconds, a name that isn't UTF-8, or a deeply nested table makes the library close the connection;
the broker then delivers the same message again, indefinitely.
"""

import asyncio
import struct
from typing import Any, Final

from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory
from pamqp import constants, decode, frame
from pamqp.commands import Basic
from pamqp.common import FieldTable, FieldValue
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat
from yarl import URL

from consumers.deliveries import MessageAssembler
from consumers.headers import encodable_headers
from service.keepalive import detect_half_open

UNDECODABLE: Final = "x-undecodable"  # the header that names removed properties and headers

_FRAME_START: Final = struct.Struct(">BHI")  # type, channel, size of the payload
_HEADER_START: Final = struct.Struct(">HHQH")  # class, weight, size of the body, flags of the properties
_HEARTBEAT: Final = frame.marshal(Heartbeat(), 0)
_HEARTBEAT_S: Final = 1.0
_PROPERTIES_START: Final = struct.calcsize(">HHQ")  # after the class, the weight, and the size of the body
_READ_BYTES: Final = 64 * 2**10
_PROTOCOL_HEADER: Final = b"AMQP"  # the reply to an unsupported protocol version, which isn't a frame
_MORE_FLAGS: Final = 1  # a second word of flags, which AMQP 0-9-1 doesn't define
_VALUE_SIZES: Final = {
    **dict.fromkeys(b"tbB", 1), **dict.fromkeys(b"suU", 2), **dict.fromkeys(b"ifI", 4),
    **dict.fromkeys(b"lLdT", 8), **dict.fromkeys(b"V\0", 0), ord("D"): 5,
}  # fmt: skip
_SIZED_VALUES: Final = b"SxAF"
_PROPERTY_SIZES: Final = {"octet": 1, "timestamp": 8}
_DECODING_ERRORS: Final = (ValueError, ArithmeticError, LookupError, TypeError, RecursionError, struct.error)


class RepairingTransportFactory(TransportFactory):
    """A factory of TCP and TLS connections whose reader assembles messages and repairs frames."""

    def __init__(self, assembler: MessageAssembler) -> None:
        self._assembler = assembler
        self._writer: asyncio.StreamWriter | None = None

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open the connection."""
        factory = TLSTransportFactory() if url.scheme == "amqps" else TCPTransportFactory()
        reader, writer = await factory.create(url, **kwargs)
        self._writer = writer
        detect_half_open(writer.get_extra_info("socket"))
        return FrameReader(reader, self._assembler), writer

    def abort(self) -> None:
        """Close the connection without waiting for the broker."""
        if self._writer is not None:
            self._writer.transport.abort()


class FrameReader(asyncio.StreamReader):
    """A reader that repairs the properties of messages, and passes all frames except those of assembled messages.

    It reads everything that has arrived together, because a small message has three small frames.
    """

    def __init__(self, source: asyncio.StreamReader, assembler: MessageAssembler) -> None:
        super().__init__()
        self._source = source
        self._assembler = assembler
        self._heartbeat_due_s = 0.0
        self._arrived = b""
        self._position = 0
        self._checked = 0  # the end of the frames that can be read
        self._decodable: bytes | None = None  # properties of the last message that the library can decode
        self._decoded = Basic.Properties()  # the decoded form of `_decodable`

    def at_eof(self) -> bool:
        """Return False, so that the library reads again and reports the lost connection as its own error."""
        return False

    async def readexactly(self, n: int) -> bytes:
        """Return `n` bytes. Raises IncompleteReadError if the connection is closed earlier."""
        while self._checked - self._position < n:
            await self._check_frame()
        start = self._position
        self._position += n
        return self._arrived[start : self._position]

    async def _check_frame(self) -> None:
        """Wait for a further frame, and repair it."""
        await self._wait_for(_FRAME_START.size)
        start = self._checked
        if self._arrived.startswith(_PROTOCOL_HEADER, start):
            await self._wait_for(_FRAME_START.size + 1)
            self._checked += _FRAME_START.size + 1
            return
        frame_type, channel, size = _FRAME_START.unpack_from(self._arrived, start)
        await self._wait_for(_FRAME_START.size + size + 1)
        start, end = self._checked, self._checked + _FRAME_START.size + size + 1
        payload = self._arrived[start + _FRAME_START.size : end - 1]
        if frame_type == constants.FRAME_METHOD:
            passed = self._heartbeat_if_due() if self._assembler.starts(channel, payload) else None
        elif frame_type == constants.FRAME_HEADER:
            passed = self._check_header(channel, payload)
        else:
            passed = b"" if self._assembler.adds_body(frame_type, channel, payload) else None
        if passed is None:
            self._checked = end
        else:
            self._replace(start, end, passed)

    def _check_header(self, channel: int, payload: bytes) -> bytes | None:
        """Return the frame that replaces the header of a message for the library, or None if it's unchanged."""
        header, is_repaired = self._read_header(payload)
        if self._assembler.adds_header(channel, header):
            return b""
        return frame.marshal(header, channel) if is_repaired else None

    def _read_header(self, payload: bytes) -> tuple[ContentHeader, bool]:
        """Return the header of a message, often with the properties of the last one, and whether it's repaired."""
        properties = payload[_PROPERTIES_START:]
        if properties == self._decodable:
            _, weight, body_size, _ = _HEADER_START.unpack_from(payload)
            return ContentHeader(weight, body_size, self._decoded), False
        header = _try_to_decode(payload)
        if header is None:
            return _repaired(payload), True
        self._decodable, self._decoded = properties, header.properties
        return header, False

    def _heartbeat_if_due(self) -> bytes:
        """Return a heartbeat at intervals, because the library doesn't get the frames of assembled messages."""
        now_s = asyncio.get_running_loop().time()
        if now_s < self._heartbeat_due_s:
            return b""
        self._heartbeat_due_s = now_s + _HEARTBEAT_S
        return _HEARTBEAT

    def _replace(self, start: int, end: int, passed: bytes) -> None:
        """Replace a frame with the frames that the library gets."""
        if not passed and self._position == start:
            self._position = self._checked = end
        else:
            self._arrived = self._arrived[:start] + passed + self._arrived[end:]
            self._checked = start + len(passed)

    async def _wait_for(self, n: int) -> None:
        """Wait until `n` bytes after the checked frames have arrived. Deletes the bytes that were read."""
        missing = n - (len(self._arrived) - self._checked)
        if missing <= 0:
            return
        parts = [self._arrived[self._position :]]
        while missing > 0:
            part = await self._source.read(max(missing, _READ_BYTES))
            if not part:
                raise asyncio.IncompleteReadError(b"".join(parts), n)
            parts.append(part)
            missing -= len(part)
        self._arrived = b"".join(parts)
        self._checked, self._position = self._checked - self._position, 0


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
