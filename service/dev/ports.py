"""Free TCP ports on loopback, chosen once and stored in a file."""

import secrets
import socket
from pathlib import Path
from typing import Final

# Below the kernel's range of ephemeral ports: otherwise, an outgoing connection could occupy the port of a server while
# the server restarts.
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


def load_or_choose_port(file: Path, preferred: int | None = None) -> int:
    """Return a free port and write it to `file`: the port in `file`, else `preferred`, else a random port."""
    stored = int(file.read_text()) if file.exists() else None
    for port in (stored, preferred):
        if port is not None and is_free(port):
            break
    else:
        port = choose_port()
    file.write_text(f"{port}\n")
    return port


def load_or_create_password(file: Path) -> str:
    """Return the password in `file`; create both if the file doesn't exist."""
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(24))
    return file.read_text()
