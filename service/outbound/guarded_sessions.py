"""HTTP sessions that connect only to allowed addresses, also if DNS or a redirect leads elsewhere.

The address is checked when a socket is created, so that DNS can't circumvent the check.
"""

import errno
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp

from service.domain.addresses import AllowedAddresses
from service.outbound.resolver import EndpointResolver

AddrInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]]

_KEEP_ALIVE_S: Final = 30
_DNS_CACHE_S: Final = 10


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


@asynccontextmanager
async def open_guarded_session(
    allowed: AllowedAddresses, headers: Mapping[str, str], name_servers: Sequence[str] | None = None
) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a session without cookies, decompression, deadlines, and limits of connections, which the caller sets.

    `name_servers` replaces the name servers of the system, each as `address:port`.
    """
    async with _open_resolver(name_servers) as resolver:
        connector = aiohttp.TCPConnector(
            limit=0,
            resolver=resolver,
            ttl_dns_cache=_DNS_CACHE_S,
            keepalive_timeout=_KEEP_ALIVE_S,
            socket_factory=guarded_socket_factory(allowed),
        )
        async with aiohttp.ClientSession(
            connector=connector,
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),  # a cookie of one organization's server must not reach another's
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,  # 16 KiB of compressed data can expand to many megabytes
            skip_auto_headers=["Accept-Encoding"],  # responses must be readable
        ) as session:
            yield session


@asynccontextmanager
async def _open_resolver(name_servers: Sequence[str] | None) -> AsyncIterator[EndpointResolver]:
    resolver = EndpointResolver(name_servers)
    try:
        yield resolver
    finally:
        await resolver.close()  # a connector closes only the resolver that it has created


async def read_start(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Read the start of the body. If the body is longer, close the connection instead of draining it."""
    read = bytearray()
    while len(read) < max_bytes:
        if response.content.at_eof():
            return bytes(read)
        read += await response.content.read(max_bytes - len(read))
    response.close()
    return bytes(read)
