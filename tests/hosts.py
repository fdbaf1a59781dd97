"""URLs with another host in front of the host of a server."""

from service.dev.ports import choose_port


def with_first_host(url: str, host: str) -> str:
    """Return the URL with an additional first host."""
    login, at, rest = url.rpartition("@")
    return f"{login}{at}{host},{rest}"


def with_closed_port(url: str) -> str:
    """Return the URL with a first host that rejects connections."""
    return with_first_host(url, f"127.0.0.1:{choose_port()}")


def host_of(url: str) -> str:
    """Return the host and port of a URL with a login."""
    return url.rpartition("@")[2].partition("/")[0]
