"""Tests of a stack whose port another program uses, also one that took it after the choice of the port."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from service.dev.stack import Stack
from service.settings import Settings


class ApiOfOneKey(BaseHTTPRequestHandler):
    """An API that is ready and accepts one key."""

    def do_GET(self) -> None:
        is_accepted = self.path == "/readyz" or self.headers["Authorization"] == "Bearer own"
        self.send_response(200 if is_accepted else 401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), ApiOfOneKey) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("key", "is_own"), [("own", True), ("other", False)])
def test_only_the_api_that_accepts_the_key_is_ready(tmp_path: Path, port: int, key: str, is_own: bool) -> None:
    settings = Settings(http_port=port, database_url="postgresql://127.0.0.1/results", dev_dir=tmp_path)
    stack = Stack(settings, tmp_path, with_rabbitmq=False)
    stack._key = key
    assert stack._is_api_ready() == is_own


def test_default_port_in_use_is_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack = Stack(Settings(database_url="postgresql://127.0.0.1/results"), tmp_path, with_rabbitmq=False)
    with contextlib.ExitStack() as opened:
        with contextlib.suppress(OSError):  # another program uses it
            opened.enter_context(socket.create_server(("127.0.0.1", 8080)))
        assert stack._choose_http_port() != 8080
    assert "(port 8080 is in use)" in capsys.readouterr().err
