"""The image in a container engine: the walk of an operator and a CI job, its restrictions, and its stop."""

import asyncio
import json
import socket
import time
import tomllib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import duckdb
import pytest

from service.dev.ports import choose_port
from service.dev.processes import wait_until
from tests.containers.engine import CommandFailed, ContainerEngine
from tests.containers.images import COMMIT, IMAGE, Container, Containers
from tests.databases import empty_database
from tests.e2e.test_login import execute

pytestmark = pytest.mark.nightly

ROOT: Final = Path(__file__).parents[2]
PASSWORD: Final = "pw-containers"
START_TIMEOUT_S: Final = 60
STOP_TIMEOUT_S: Final = 30
REPORT: Final = b"""\
<testsuite name="shop">
  <testcase name="pays" time="0.5"/>
  <testcase name="ships" time="0.1"><failure message="not shipped"/></testcase>
</testsuite>
"""


@dataclass(frozen=True)
class Deployment:
    """A database with an organization, and an API and a consumer that run in containers."""

    containers: Containers
    key: str
    port: int
    api: Container
    consumer: Container

    def client(self, *arguments: str, volumes: tuple[str, ...] = ()) -> bytes:
        """Run a command of a CI job in a container."""
        url = f"http://127.0.0.1:{self.port}"
        return self.containers.run(*arguments, volumes=volumes, RESULTS_URL=url, RESULTS_API_KEY=self.key)

    def get(self, path: str) -> Any:
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=START_TIMEOUT_S)) as connection:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.key}"})
            response = connection.getresponse()
            assert response.status == 200, response.read()
            return json.load(response)


@pytest.fixture(scope="module")
def deployment(
    engine: ContainerEngine, postgres_url: str, amqp_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Create the database as the superuser. The processes have a login without privileges, and share a volume."""
    with new_login(postgres_url) as login, empty_database(postgres_url) as database_url:
        folder = tmp_path_factory.mktemp("secrets")
        settings = {"results_amqp_url": amqp_url, "results_queue_prefix": f"test-{uuid4().hex[:12]}."}
        superuser = write_secrets(folder / "superuser", results_database_url=database_url)
        processes = write_secrets(
            folder / "processes", results_database_url=with_login(database_url, login), **settings
        )
        Containers(engine, superuser, "files").run("schema", "apply", "--grant-to", login)
        containers = Containers(engine, processes, "files")
        containers.run("organizations", "create", "acme")
        key = containers.run("keys", "create", "--organization", "acme", "--role", "engineer").decode().strip()
        with (
            serving(containers) as (api, port),
            containers.running("consume", RESULTS_HTTP_PORT=str(choose_port())) as consumer,
        ):
            yield Deployment(containers, key, port, api, consumer)


@contextmanager
def new_login(postgres_url: str) -> Iterator[str]:
    name = f"login_{uuid4().hex[:12]}"
    asyncio.run(execute(postgres_url, f"CREATE ROLE {name} LOGIN NOINHERIT PASSWORD '{PASSWORD}'"))
    yield name
    asyncio.run(execute(postgres_url, f"DROP ROLE {name}"))


def with_login(url: str, login: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{login}:{PASSWORD}@{parts.netloc.rpartition('@')[2]}"))


def write_secrets(folder: Path, **settings: str) -> Path:
    """Write a file for each setting. The mode of the parent folder protects the files."""
    folder.mkdir()
    for name, value in settings.items():
        (folder / name).write_text(value)
    return folder


@contextmanager
def serving(containers: Containers) -> Iterator[tuple[Container, int]]:
    """Run an API until the health check of the image succeeds."""
    port = choose_port()
    with containers.running("api", RESULTS_HTTP_PORT=str(port)) as api:
        assert wait_until(lambda: api.is_healthy, START_TIMEOUT_S), api.logs
        yield api, port


def is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_labels_and_processes_name_the_version_and_the_commit(deployment: Deployment) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    inspected = deployment.containers.engine.podman("image", "inspect", "--format={{json .Config.Labels}}", IMAGE)
    labels = json.loads(inspected)
    assert labels["org.opencontainers.image.version"] == version
    assert labels["org.opencontainers.image.revision"] == COMMIT
    assert deployment.get("/healthz") == {"status": "ok", "version": version, "commit": COMMIT}
    assert f"{version} (commit {COMMIT[:10]})" in deployment.containers.run("--version").decode()


def test_health_check_succeeds_for_the_api_and_fails_without_one(deployment: Deployment) -> None:
    assert deployment.api.is_healthy
    assert not deployment.consumer.is_healthy  # nothing listens on its HTTP port


def test_processes_have_no_privileges(deployment: Deployment) -> None:
    for container in (deployment.api, deployment.consumer):
        status = dict(line.split(":\t", 1) for line in container.execute("cat", "/proc/1/status").splitlines())
        assert status["Uid"].split() == status["Gid"].split() == ["10001"] * 4
        assert [int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")] == [0] * 4
        assert status["NoNewPrivs"] == "1"


def test_only_data_and_tmp_are_writable(deployment: Deployment) -> None:
    for container in (deployment.api, deployment.consumer):
        for folder in ("/data", "/tmp"):
            container.execute("sh", "-c", f"echo 1 >{folder}/written && rm {folder}/written")
        with pytest.raises(CommandFailed, match="Read-only file system"):
            container.execute("touch", "/var/tmp/written")  # its mode lets all users write


def test_report_passes_through_the_containers_to_a_parquet_file(deployment: Deployment, tmp_path: Path) -> None:
    (tmp_path / "junit.xml").write_bytes(REPORT)
    volumes = (f"{tmp_path / 'junit.xml'}:/junit.xml:ro",)
    deployment.client("report", "--wait", "--project=shop", "--run-id=run_1", "/junit.xml", volumes=volumes)
    with pytest.raises(CommandFailed, match=r"exited with 1:(.|\n)*ships"):
        deployment.client("gate", "--run-id=run_1")
    deployment.client("gate", "--run-id=run_1", "--max-failures=1")
    exported = tmp_path / "results.parquet"
    exported.write_bytes(deployment.client("export", "--run-id=run_1", "--format=parquet", "--output=-"))
    query = f"SELECT name, status, duration_ms FROM '{exported}' ORDER BY name"
    assert duckdb.execute(query).fetchall() == [("pays", "passed", 500), ("ships", "failed", 100)]


def test_stopped_api_finishes_a_slow_upload(deployment: Deployment) -> None:
    with serving(deployment.containers) as (api, port):
        with closing(start_upload(port, deployment.key, "run_slow", len(REPORT))) as connection:
            stopping = api.start_stop(STOP_TIMEOUT_S)
            assert wait_until(lambda: not is_open(port), STOP_TIMEOUT_S)  # the API accepts no more connections
            for offset in range(0, len(REPORT), 20):
                connection.send(REPORT[offset : offset + 20])
                time.sleep(0.3)
            response = connection.getresponse()
            receipt = json.load(response)
            assert response.status == 202, receipt
        assert stopping.wait(2 * STOP_TIMEOUT_S) == 0
        assert api.exit_status == 0, api.logs
    stored = deployment.get(f"/v1/receipts/{receipt['id']}?wait=20")
    assert (stored["status"], stored["run_id"]) == ("stored", "run_slow")


def start_upload(port: int, key: str, run_id: str, length: int) -> HTTPConnection:
    """Send the headers of a report. Return when the server waits for the body."""
    connection = HTTPConnection("127.0.0.1", port, timeout=START_TIMEOUT_S)
    connection.putrequest("POST", f"/v1/runs/{run_id}/report?project_id=shop")
    headers = {"Authorization": f"Bearer {key}", "Content-Length": str(length), "Expect": "100-continue"}
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.sock.recv(1024).startswith(b"HTTP/1.1 100 ")
    return connection


def test_stopped_consumer_exits_with_0(deployment: Deployment) -> None:
    with deployment.containers.running("consume") as consumer:
        assert wait_until(lambda: "broker_connected" in consumer.logs, START_TIMEOUT_S), consumer.logs
        assert consumer.start_stop(STOP_TIMEOUT_S).wait(2 * STOP_TIMEOUT_S) == 0
        assert consumer.exit_status == 0, consumer.logs
