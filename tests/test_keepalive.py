"""Connections whose packets get lost while they wait: the operating system detects it before any other timeout."""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from service.database import database
from tests.half_open_network import BROKER_HEARTBEAT_S, WAITS, forward_to

NAMESPACE = ["unshare", "--user", "--map-root-user", "--net"]
TIMEOUTS_S = {"database": database._COMMAND_TIMEOUT_S, "broker": BROKER_HEARTBEAT_S}  # apply without keepalive


@pytest.fixture
def urls(database_url: str, amqp_url: str) -> dict[str, str]:
    return {"database": database_url, "broker": amqp_url}


@pytest.fixture
def namespace() -> list[str]:
    """Return the start of a command that runs in a network namespace of its own."""
    creating = [*NAMESPACE, "ip", "link", "set", "lo", "up"]
    if shutil.which("unshare") is None or subprocess.run(creating, check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("network namespaces are not permitted")
    return NAMESPACE


@pytest.mark.slow
@pytest.mark.parametrize("name", WAITS)
async def test_half_open_connection_is_closed_before_its_timeout(
    urls: dict[str, str], namespace: list[str], tmp_path: Path, name: str
) -> None:
    address, path = urlsplit(urls[name]), str(tmp_path / "server")
    forward = forward_to(lambda: asyncio.open_connection(address.hostname, address.port))
    async with await asyncio.start_unix_server(forward, path):
        program = [*namespace, sys.executable, "-m", "tests.half_open_network", name, urls[name], path]
        process = await asyncio.create_subprocess_exec(*program, stdout=subprocess.PIPE)
        output, _ = await process.communicate()
    assert process.returncode == 0
    print(f"{name}: {float(output):.1f} s")
    assert float(output) < TIMEOUTS_S[name] / 2
