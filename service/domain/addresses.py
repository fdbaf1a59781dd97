"""Classification of network addresses. Requests go only to public addresses and to allowed networks."""

import ipaddress
from functools import cache
from typing import Final, NamedTuple
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# The IANA special-purpose address registries, and multicast. `ipaddress.is_global` isn't used because it accepts some
# of these blocks and differs between Python versions.
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
# The only block that IANA allocates for global unicast. Addresses outside it are never public.
_GLOBAL_UNICAST_V6: Final = ipaddress.ip_network("2000::/3")


@cache
def _blocks(version: int) -> tuple[Network, ...]:
    return tuple(block for block in _SPECIAL if block.version == version)


class AllowedAddresses(NamedTuple):
    """The addresses of third-party servers to which requests go: public ones, and others that the operator allows."""

    loopback: bool = False
    networks: tuple[Network, ...] = ()

    def contains(self, address: Address) -> bool:
        """Return whether requests go to the address."""
        if is_public(address) or (self.loopback and is_loopback(address)):
            return True
        return any(_unmapped(address) in network for network in self.networks)

    def describe_rejection(self, address: str) -> str:
        """Return a message about an address that isn't allowed, which names the allowed ones."""
        allowed = ["a public address"]
        if self.loopback:
            allowed.append("a loopback address")
        if self.networks:
            allowed.append(f"in an allowed network ({', '.join(map(str, self.networks))})")
        return f"{address} is not {' or '.join(allowed)}"


def is_public(address: Address) -> bool:
    """Return whether the address is public. An IPv4-mapped IPv6 address is classified as its IPv4 address."""
    address = _unmapped(address)
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST_V6:
        return False
    return not any(address in block for block in _blocks(address.version))


def is_loopback(address: Address) -> bool:
    """Return whether the address is a loopback address."""
    return _unmapped(address).is_loopback


def parse_address(host: str) -> Address | None:
    """Parse a literal address in a URL. Return None if the host is a name."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def _unmapped(address: Address) -> Address:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def split_hosts(url: str) -> list[str]:
    """Return one URL for each host that the URL lists, in the same order."""
    netloc = urlsplit(url).netloc
    login, at, hosts = netloc.rpartition("@")
    scheme, _, rest = url.partition("://")
    return [f"{scheme}://{login}{at}{host}{rest[len(netloc) :]}" for host in hosts.split(",")]
