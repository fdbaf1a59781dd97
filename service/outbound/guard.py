"""Lets sockets connect to public addresses only, judged at the moment of connecting: no name resolves around it."""

import errno
import ipaddress
import socket
from collections.abc import Callable
from typing import Any

from service.domain.addresses import is_loopback, is_public

AddrInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]]


class AddressRefused(OSError):
    """The endpoint's address is not a public one."""


def guarded_sockets(*, allow_loopback: bool) -> Callable[[AddrInfo], socket.socket]:
    """Makes the sockets of a connector."""

    def make(info: AddrInfo) -> socket.socket:
        family, kind, protocol, _, place = info
        address = ipaddress.ip_address(str(place[0]).partition("%")[0])
        if not (is_public(address) or (allow_loopback and is_loopback(address))):
            raise AddressRefused(errno.EACCES, f"{address} is not a public address")
        return socket.socket(family, kind, protocol)

    return make
