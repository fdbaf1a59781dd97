"""An S3 server for tests."""

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from service.dev.ports import choose_port
from service.dev.processes import wait_until


@contextmanager
def s3_server() -> Iterator[str]:
    """Start the server on loopback and yield its URL."""
    url = f"http://127.0.0.1:{(port := choose_port())}"
    arguments = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if not wait_until(lambda: _is_ready(url), 30):
            raise RuntimeError("S3 server: not ready after 30 s")
        yield url
    finally:
        server.terminate()
        server.wait()


def credentials(url: str) -> dict[str, str]:
    """Return the environment variables of a client of the server."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }


def new_bucket(server_url: str) -> str:
    """Create a bucket and return the value for RESULTS_ARTIFACTS_URL."""
    name = f"bucket-{uuid4().hex}"
    request = urllib.request.Request(f"{server_url}/{name}", method="PUT")
    urllib.request.urlopen(request, timeout=10).close()
    return f"s3://{name}/some/prefix"


def _is_ready(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/moto-api/", timeout=1).close()
    except OSError:
        return False
    return True
