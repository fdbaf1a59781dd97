"""Secrets never appear in the logs of the processes: API keys, webhook secrets, passwords in URLs, Authorization."""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from service.dev.ports import choose_port
from tests.test_log import wait_until_responding

pytestmark = pytest.mark.slow

PASSWORD = "pw-Zx81"
TIMEOUT_S = 20
CRASH = """
import sys
from service.log import log, set_up
set_up("debug")
try:
    raise ValueError(sys.argv[1])
except ValueError:
    log.exception("failed", url=sys.argv[1])
import logging
logging.getLogger("driver").error("closed %s", sys.argv[1])
raise RuntimeError(sys.argv[1])
"""


@contextmanager
def running(log_file: Path, environment: dict[str, str], *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "service", *arguments]
    with (
        log_file.open("wb") as output,
        subprocess.Popen(command, env=os.environ | environment, stdout=output, stderr=output) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            process.wait(TIMEOUT_S)


def run(environment: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "service", *arguments]
    return subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def send(url: str, authorization: str, body: Any = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": authorization, "Content-Type": "application/json"}
    try:
        with urlopen(Request(url, data, headers)) as response:
            accepted: dict[str, Any] = json.load(response)
            return accepted
    except HTTPError as error:
        with error:
            rejected: dict[str, Any] = json.load(error)
            return rejected


def with_other_secret(key: str) -> str:
    """Return the key with a different last character of the secret: well-formed, and unknown to the server."""
    return key[:-1] + ("1" if key.endswith("0") else "0")


def wait_for(file: Path, is_logged: Callable[[str], bool]) -> str:
    deadline = time.monotonic() + TIMEOUT_S
    while not is_logged(file.read_text()):
        assert time.monotonic() < deadline, file.read_text()
        time.sleep(0.05)
    return file.read_text()


@pytest.mark.slow
def test_logs_of_the_processes_contain_no_secret(database_url: str, tmp_path: Path) -> None:
    """The broker is down, an endpoint can't be reached, and clients send valid and invalid credentials."""
    port, closed_port = choose_port(), choose_port()
    environment = {
        "RESULTS_DATABASE_URL": database_url, "RESULTS_LOG_LEVEL": "debug",
        "RESULTS_AMQP_URL": f"amqp://guest:{PASSWORD}@127.0.0.1:{closed_port}/",
        "RESULTS_ARTIFACTS_URL": tmp_path.as_uri(), "RESULTS_HTTP_PORT": str(port),
        "RESULTS_RATE_LIMIT_URL": f"redis://:{PASSWORD}@127.0.0.1:{closed_port}/0",
        "RESULTS_WEBHOOK_ALLOW_LOOPBACK": "true",
    }  # fmt: skip
    run(environment, "organizations", "create", "acme")
    key = run(environment, "keys", "create", "--organization", "acme", "--role", "admin").stdout.strip()
    basic = base64.b64encode(f"user:{PASSWORD}-basic".encode()).decode()
    base, api_log, consumer_log = f"http://127.0.0.1:{port}", tmp_path / "api.log", tmp_path / "consumers.log"
    with running(api_log, environment, "api") as api, running(consumer_log, environment, "consume"):
        wait_until_responding(api, f"{base}/metrics")
        created = send(f"{base}/v1/webhooks", f"Bearer {key}", {"url": f"http://127.0.0.1:{closed_port}/hook"})
        rotated = send(f"{base}/v1/webhooks/{created['id']}/rotate-secret", f"Bearer {key}", {})
        send(f"{base}/v1/webhooks/{created['id']}/test", f"Bearer {key}", {})
        for authorization in (f"Bearer {with_other_secret(key)}", f"Basic {basic}", "Bearer " + "x" * 40):
            assert send(f"{base}/v1/runs", authorization)["error"]["code"] == "unauthorized"
        wait_for(consumer_log, lambda text: "broker_connection_lost" in text)
    logged = api_log.read_text() + consumer_log.read_text()
    assert "broker_connection_lost" in logged
    password = urlsplit(database_url).password or ""
    secrets = [PASSWORD, password, key.split("_")[2], basic, "x" * 40, created["secret"], rotated["secret"]]
    assert [secret for secret in secrets if secret in logged] == []


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("DATABASE_URL", f"postgresql://results:{PASSWORD}/1@db/results"), ("DATABASE_URL", f"http://a:{PASSWORD}@db"),
        ("DATABASE_URL", f"postgresql://results:{PASSWORD}@127.0.0.1:9/results"), ("AMQP_URL", f"a:{PASSWORD}@broker"),
        ("SECRET_KEYS", PASSWORD),
    ],
)  # fmt: skip
def test_error_of_a_setting_contains_no_secret(database_url: str, name: str, url: str) -> None:
    environment = {"RESULTS_DATABASE_URL": database_url, f"RESULTS_{name}": url, "RESULTS_HTTP_PORT": "0"}
    finished = run(environment, "webhooks", "encrypt-secrets")
    assert finished.returncode == 1
    assert PASSWORD not in finished.stderr + finished.stdout


@pytest.mark.slow
def test_logs_about_an_unreachable_storage_contain_no_key(database_url: str, tmp_path: Path) -> None:
    port, closed_port = choose_port(), choose_port()
    keys = {
        "AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": f"{PASSWORD}/secret",
        "AWS_SESSION_TOKEN": f"{PASSWORD}/session", "RESULTS_SECRET_KEYS": base64.urlsafe_b64encode(b"k" * 32).decode(),
    }  # fmt: skip
    environment = keys | {
        "RESULTS_DATABASE_URL": database_url, "RESULTS_LOG_LEVEL": "debug", "RESULTS_HTTP_PORT": str(port),
        "RESULTS_ARTIFACTS_URL": "s3://bucket/prefix", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{closed_port}",
    }  # fmt: skip
    api_log, consumer_log = tmp_path / "api.log", tmp_path / "consumers.log"
    with running(api_log, environment, "api") as api, running(consumer_log, environment, "consume"):
        wait_until_responding(api, f"http://127.0.0.1:{port}/metrics")
        logged = "".join(wait_for(log, lambda text: "storage_unreachable" in text) for log in (api_log, consumer_log))
    del keys["AWS_ACCESS_KEY_ID"]
    assert [name for name, secret in keys.items() if secret in logged] == []


def test_error_of_a_rejected_password_contains_no_secret(database_url: str) -> None:
    url = database_url.replace(f":{urlsplit(database_url).password}@", f":{PASSWORD}@")
    finished = run({"RESULTS_DATABASE_URL": url}, "organizations", "list")
    assert finished.returncode == 1
    assert "the database rejects the user or password" in finished.stderr
    assert PASSWORD not in finished.stderr + finished.stdout


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"connect to amqp://guest:{PASSWORD}@broker/", PASSWORD),
        (f"connect to postgresql://results:{PASSWORD}@db/results", PASSWORD),
        (f"zof_{'0' * 20}_{'a1' * 20} is unknown", "a1a1"), ("the secret whsec_QUJDREVGR0g= is invalid", "QUJDREVGR0g"),
        ("{'Authorization': 'Bearer QUJDREVGR0hJSktM'}", "QUJDREVGR0hJSktM"),
        ("Authorization: Basic QUJDREVGR0hJSktM", "QUJDREVGR0hJSktM"),
        (f"AWS_SECRET_ACCESS_KEY={PASSWORD} is invalid", PASSWORD),
    ],
    ids=["broker", "database", "API key", "webhook", "bearer", "basic", "storage"],
)  # fmt: skip
def test_exceptions_and_lines_of_libraries_are_logged_without_secrets(text: str, secret: str) -> None:
    finished = subprocess.run([sys.executable, "-c", CRASH, text], capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert finished.stderr.count("[redacted]") >= 3
    assert secret not in finished.stderr
