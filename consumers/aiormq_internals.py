"""The internals of aio-pika and aiormq that the consumers use. Another version can change them without notice.

Review this module before the version bounds in pyproject.toml are raised. tests/consumers/test_aiormq_internals.py
names what has changed.

The reader of frames assembles messages itself, because the library needs 55 µs more CPU time for each message, a third
of the time of an event with 5 results (docs/adr/0016-assemble-messages-before-the-client-library.md).
"""

import asyncio
import struct
from collections.abc import Callable
from typing import Any, Final

import aio_pika
from aio_pika.abc import AbstractConnection
from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory
from pamqp import constants, frame
from pamqp.heartbeat import Heartbeat
from yarl import URL

from consumers.deliveries import MessageAssembler
from consumers.pamqp_internals import HeaderReader
from service.keepalive import detect_half_open, observe_progress

_FRAME_START: Final = struct.Struct(">BHI")  # type, channel, size of the payload
_HEARTBEAT: Final = frame.marshal(Heartbeat(), 0)
_HEARTBEAT_S: Final = 1.0
_READ_BYTES: Final = 64 * 2**10
_PROTOCOL_HEADER: Final = b"AMQP"  # the reply to an unsupported protocol version, which isn't a frame


class TransportConnection(aio_pika.Connection):
    """A connection whose transport repairs frames, and assembles the messages of subscribed channels."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.assembler = MessageAssembler()
        self._transports = self.kwargs["transport_factory"] = RepairingTransportFactory(self.assembler)

    def terminate(self) -> None:
        """Close the connection without waiting for the broker, so that all calls that wait for it end."""
        self._transports.abort()

    def observe_progress(self, interval_s: float) -> Callable[[], bool]:
        """Return a function to call after each interval. It returns whether data was transferred meanwhile."""
        return self._transports.observe_progress(interval_s)


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

    def observe_progress(self, interval_s: float) -> Callable[[], bool]:
        """Return a function to call after each interval. It returns whether data was transferred meanwhile."""
        if self._writer is None:
            return lambda: False
        return observe_progress(self._writer.get_extra_info("socket"), interval_s)


class FrameReader(asyncio.StreamReader):
    """A reader that repairs the properties of messages, and passes all frames except those of assembled messages.

    It reads everything that has arrived together, because a small message has three small frames.
    """

    def __init__(self, source: asyncio.StreamReader, assembler: MessageAssembler) -> None:
        super().__init__()
        self._source = source
        self._assembler = assembler
        self._headers = HeaderReader()
        self._heartbeat_due_s = 0.0
        self._arrived = b""
        self._position = 0
        self._checked = 0  # the end of the frames that can be read

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
        header, is_repaired = self._headers.read(payload)
        if self._assembler.adds_header(channel, header):
            return b""
        return frame.marshal(header, channel) if is_repaired else None

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


def is_closed(connection: AbstractConnection) -> bool:
    """Return whether the connection or its transport is closed. The library notices a closed transport later."""
    transport = connection.transport
    return connection.is_closed or transport is None or transport.connection.is_closed
