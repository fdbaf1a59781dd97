"""Free TCP ports on loopback, chosen once and kept in a file."""

import secrets
import socket
from pathlib import Path
from typing import Final

# Below the range from which the kernel takes ports for outgoing connections, one of which could otherwise
# sit on a port of ours while its owner restarts.
_RANGE: Final = range(15_000, 32_000)
_ATTEMPTS: Final = 200


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose_port() -> int:
    for _ in range(_ATTEMPTS):
        port = secrets.choice(_RANGE)
        if is_free(port):
            return port
    raise RuntimeError(f"no free port found between {_RANGE.start} and {_RANGE.stop}")


def kept_port(file: Path, preferred: int | None = None) -> int:
    """The port in `file` while it is free, else the preferred one, else any; the file then holds it."""
    kept = int(file.read_text()) if file.exists() else None
    for port in (kept, preferred):
        if port is not None and is_free(port):
            break
    else:
        port = choose_port()
    file.write_text(f"{port}\n")
    return port
