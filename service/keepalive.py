"""Detection of half-open connections, whose network or peer failed without a closing packet, and of slow ones."""

import socket
import struct
from collections.abc import Callable
from typing import Final

_OPTIONS: Final = {  # names, because each platform has only some of them
    "TCP_KEEPIDLE": 5,  # s without data before the first probe
    "TCP_KEEPINTVL": 5,  # s between probes
    "TCP_KEEPCNT": 2,  # probes without a response
    "TCP_USER_TIMEOUT": 15_000,  # ms without a response, to probes or data
}

_MIN_BYTES_PER_S: Final = 4 * 2**10
_TRANSFERRED: Final = struct.Struct("120x2Q")  # of tcp_info of Linux: bytes_acked and bytes_received


def detect_half_open(connected: socket.socket) -> None:
    """Let the operating system close the connection if the peer's machine doesn't respond for about 15 s.

    Without these options, a command waits for its own timeout. A peer that only needs long for its response isn't
    affected, because its operating system responds.
    """
    if connected.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _OPTIONS.items():
        if hasattr(socket, name):
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def observe_progress(connected: socket.socket | None, interval_s: float) -> Callable[[], bool]:
    """Return a function to call after each interval. It returns whether the connection has transferred data meanwhile.

    Heartbeats of a peer that doesn't respond otherwise are no progress. A closed connection can have no socket.
    """
    before = _transferred_bytes(connected)

    def has_progressed() -> bool:
        nonlocal before
        last, before = before, _transferred_bytes(connected)
        return before - last >= _MIN_BYTES_PER_S * interval_s

    return has_progressed


def _transferred_bytes(connected: socket.socket | None) -> int:
    """Return how many bytes the peer's machine has acknowledged or sent, or 0 on a platform that doesn't count them."""
    if (
        connected is None
        or connected.family not in (socket.AF_INET, socket.AF_INET6)
        or not hasattr(socket, "TCP_INFO")
    ):
        return 0
    try:
        info = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TRANSFERRED.size)
    except (OSError, ValueError):  # the connection is closed; uvloop then raises ValueError for the number -1
        return 0
    return sum(_TRANSFERRED.unpack(info)) if len(info) == _TRANSFERRED.size else 0
