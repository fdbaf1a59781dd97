"""Sockets that connect only to allowed addresses, checked at connect time so that DNS can't circumvent the check."""

import errno
import ipaddress
import socket
from collections.abc import Callable
from typing import Any

from service.domain.addresses import AllowedAddresses

AddrInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]]


class AddressNotAllowed(OSError):
    """The address of the endpoint is neither public nor in an allowed network."""


def guarded_socket_factory(allowed: AllowedAddresses) -> Callable[[AddrInfo], socket.socket]:
    """Return a socket factory for an aiohttp connector. The factory raises AddressNotAllowed."""

    def create_socket(info: AddrInfo) -> socket.socket:
        family, kind, protocol, _, sockaddr = info
        address = ipaddress.ip_address(str(sockaddr[0]).partition("%")[0])
        if not allowed.contains(address):
            raise AddressNotAllowed(errno.EACCES, allowed.describe_rejection(str(address)))
        return socket.socket(family, kind, protocol)

    return create_socket
