"""Which network addresses belong to the public internet; every other one is refused as a place to send to."""

import ipaddress
from functools import cache
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# The special-purpose registries of IANA, and multicast. Not left to `is_global`, which lets some of these through and
# changes from one Python to the next.
_SPECIAL: Final = tuple(
    ipaddress.ip_network(block)
    for block in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
# All that IANA has given out as unicast; what lies outside, now or later, is not the public internet.
_GLOBAL_UNICAST_V6: Final = ipaddress.ip_network("2000::/3")


@cache
def _blocks(version: int) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(block for block in _SPECIAL if block.version == version)


def is_public(address: Address) -> bool:
    """Whether the address is an ordinary one of the internet. IPv4 written as IPv6 counts as what it stands for."""
    address = _plain(address)
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST_V6:
        return False
    return not any(address in block for block in _blocks(address.version))


def is_loopback(address: Address) -> bool:
    """Whether the address is this machine's own."""
    return _plain(address).is_loopback


def parse_address(host: str) -> Address | None:
    """The address that a host names literally, or None for a name."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def _plain(address: Address) -> Address:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
