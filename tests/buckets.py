"""An S3 server for tests."""

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
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
    url = f"s3://bucket-{uuid4().hex}/some/prefix"
    create_bucket(server_url, url)
    return url


def create_bucket(server_url: str, url: str) -> None:
    _send(server_url, url, "PUT")


def delete_bucket(server_url: str, url: str) -> None:
    """Delete an empty bucket."""
    _send(server_url, url, "DELETE")


def _send(server_url: str, url: str, method: str) -> None:
    request = urllib.request.Request(f"{server_url}/{urlsplit(url).netloc}", method=method)
    urllib.request.urlopen(request, timeout=10).close()


def _is_ready(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/moto-api/", timeout=1).close()
    except OSError:
        return False
    return True
