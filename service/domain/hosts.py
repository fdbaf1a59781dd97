"""URLs that list several hosts, such as postgresql://user@host1:5432,host2:5432/name."""

from urllib.parse import urlsplit


def split_hosts(url: str) -> list[str]:
    """Return one URL for each host that the URL lists, in the same order."""
    netloc = urlsplit(url).netloc
    login, at, hosts = netloc.rpartition("@")
    scheme, _, rest = url.partition("://")
    return [f"{scheme}://{login}{at}{host}{rest[len(netloc) :]}" for host in hosts.split(",")]
