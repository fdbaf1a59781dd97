"""A private Redis of the installed redis-server, on loopback and without persistence."""

import shutil
import socket
from pathlib import Path
from typing import Final

from service.dev.ports import load_or_choose_port
from service.dev.processes import Process
from service.dev.programs import StackComponent

_PASSWORD: Final = "secret"
_PROBE_TIMEOUT_S: Final = 1.0


def is_installed() -> bool:
    return shutil.which("redis-server") is not None


class Redis(StackComponent):
    def __init__(self, directory: Path) -> None:
        super().__init__(Process("redis", directory), directory)
        self.port = 0

    @property
    def url(self) -> str:
        return f"redis://:{_PASSWORD}@127.0.0.1:{self.port}/1"

    def prepare(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = load_or_choose_port(self.directory / "port")

    def launch(self) -> None:
        options = {"port": self.port, "bind": "127.0.0.1", "requirepass": _PASSWORD, "dir": self.directory, "save": ""}
        arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        self.process.launch(["redis-server", *arguments])

    def is_ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), _PROBE_TIMEOUT_S) as connection:
                connection.sendall(f"AUTH {_PASSWORD}\r\nPING\r\n".encode())
                return b"PONG" in connection.recv(100)
        except OSError:
            return False
