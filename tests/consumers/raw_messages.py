"""Messages with properties that the client library can't encode itself, published as raw AMQP frames."""

import asyncio
import struct
from urllib.parse import urlsplit

from pamqp import commands, frame
from pamqp.body import ContentBody

MAX_FRAME_BYTES = 100_000
PROPERTY_FLAGS = dict(commands.Basic.Properties.flags)


def short_string(value: bytes) -> bytes:
    return bytes([len(value)]) + value


def table(*entries: tuple[bytes, bytes]) -> bytes:
    """Return an encoded table of names and values, each value with its type byte."""
    content = b"".join(short_string(name) + value for name, value in entries)
    return struct.pack(">I", len(content)) + content


async def publish_raw(url: str, exchange: str, routing_key: str, body: bytes, **properties: bytes) -> None:
    """Publish one message with encoded properties, and return after the broker has received it."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        await _publish(reader, writer, url, exchange, routing_key, body, properties)
    finally:
        writer.close()
        await writer.wait_closed()


async def _publish(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, url: str, exchange: str, routing_key: str, body: bytes,
    properties: dict[str, bytes],
) -> None:  # fmt: skip
    parts = urlsplit(url)
    response = f"\0{parts.username or 'guest'}\0{parts.password or 'guest'}"
    writer.write(b"AMQP\x00\x00\x09\x01")
    await _read(reader)  # Connection.Start
    _write(writer, 0, commands.Connection.StartOk(mechanism="PLAIN", response=response))
    await _read(reader)  # Connection.Tune
    _write(writer, 0, commands.Connection.TuneOk(2047, 131072, 0))
    _write(writer, 0, commands.Connection.Open(parts.path[1:].replace("%2F", "/") or "/"))
    await _read(reader)
    _write(writer, 1, commands.Channel.Open())
    await _read(reader)
    _write(writer, 1, commands.Confirm.Select())
    await _read(reader)
    _write(writer, 1, commands.Basic.Publish(exchange=exchange, routing_key=routing_key))
    flags = sum(PROPERTY_FLAGS[name] for name in properties)
    values = b"".join(properties[name] for name in PROPERTY_FLAGS if name in properties)
    header = struct.pack(">HHQH", 60, 0, len(body), flags) + values
    writer.write(struct.pack(">BHI", 2, 1, len(header)) + header + b"\xce")
    for start in range(0, len(body), MAX_FRAME_BYTES):
        writer.write(frame.marshal(ContentBody(body[start : start + MAX_FRAME_BYTES]), 1))
    confirmed = await _read(reader)
    assert isinstance(confirmed, commands.Basic.Ack), confirmed
    _write(writer, 0, commands.Connection.Close(200, "", 0, 0))
    await _read(reader)


def _write(writer: asyncio.StreamWriter, channel: int, method: frame.FrameTypes) -> None:
    writer.write(frame.marshal(method, channel))


async def _read(reader: asyncio.StreamReader) -> frame.FrameTypes:
    start = await asyncio.wait_for(reader.readexactly(7), 10)
    size = struct.unpack(">BHI", start)[2]
    return frame.unmarshal(start + await reader.readexactly(size + 1))[2]
