"""TCP options that detect a half-open connection: the network or the peer failed without a closing packet."""

import socket
from typing import Final

_OPTIONS: Final = {  # names, because each platform has only some of them
    "TCP_KEEPIDLE": 5,  # s without data before the first probe
    "TCP_KEEPINTVL": 5,  # s between probes
    "TCP_KEEPCNT": 2,  # probes without a response
    "TCP_USER_TIMEOUT": 15_000,  # ms without a response, to probes or data
}


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
