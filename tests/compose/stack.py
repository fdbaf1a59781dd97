"""Tests of the running stack of compose.yaml, in the order of a reader. Only `make test-compose` collects this file."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import aio_pika
import pytest
from aio_pika.exceptions import AMQPError

from consumers.broker import connect
from consumers.topology import RUN_COMPLETED
from tests.docs.blocks import ROOT, Command, commands
from tests.docs.shell import differences, execute
from tests.run_events import body, result, run_event

# The driver doesn't await it if the broker closes a new connection.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine 'BrokerConnection.close' was never awaited:RuntimeWarning")

ORGANIZATION: Final = "demo"  # as in the output that README shows
URL: Final = "http://127.0.0.1:8080"
EVENTS: Final = 400
JOBS: Final = {"login", "schema"}
LONG_RUNNING: Final = {"postgres", "rabbitmq", "api", "events", "background", "delivery", "redis"}
SETTINGS: Final = {"COMPOSE_PROFILES": "redis", "RESULTS_RATE_LIMIT_URL": "redis://redis/0"}
_START_S: Final = 300


class ComposeStack:
    """The commands of Compose in a copy of the checkout."""

    key = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = dict(SETTINGS)

    def compose(self, *arguments: str) -> str:
        environment = {**os.environ, **self.settings}
        done = subprocess.run(
            ["docker", "compose", *arguments],
            cwd=self.folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}: {done.stderr[-4_000:]}"
        return done.stdout

    def start(self, *options: str) -> None:
        """Start all services, and wait until they are healthy."""
        self.compose("up", "--detach", *options)
        wait_until(lambda: self.health() == dict.fromkeys(LONG_RUNNING, "healthy"))

    def health(self) -> dict[str, str]:
        """Return the health of the containers that run."""
        lines = map(json.loads, self.compose("ps", "--format", "json").splitlines())
        return {each["Service"]: each["Health"] or each["State"] for each in lines}

    def container(self, service: str) -> dict[str, Any]:
        name = self.compose("ps", "--all", "--quiet", service).strip()
        return inspect(name)

    def kill(self, service: str) -> None:
        """Kill the processes of the container as the kernel does when memory is exhausted."""
        os.kill(self.container(service)["State"]["Pid"], signal.SIGKILL)

    def get(self, path: str) -> Any:
        request = urllib.request.Request(f"{URL}{path}", headers={"Authorization": f"Bearer {self.key}"})
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)


def inspect(name: str) -> dict[str, Any]:
    [found] = json.loads(engine("inspect", name))
    container: dict[str, Any] = found
    return container


def engine(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _START_S
    while not condition():
        assert time.monotonic() < end, f"not true after {_START_S} s"
        time.sleep(1)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeStack]:
    """A stack in a copy of the checkout, so that it has its own secrets."""
    folder = tmp_path_factory.mktemp("checkout") / "zof-results"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name, follow_symlinks=False)
    subprocess.run([folder / "deploy" / "create-secrets"], check=True)
    stack = ComposeStack(folder)
    yield stack
    print(stack.compose("logs", "--tail", "30"))
    stack.compose("--profile", "*", "down", "--volumes")


def test_all_services_become_healthy(stack: ComposeStack) -> None:
    stack.start("--build")
    for job in JOBS:
        state = stack.container(job)["State"]
        assert (state["Status"], state["ExitCode"]) == ("exited", 0), job


def test_processes_have_no_privileges(stack: ComposeStack) -> None:
    status = stack.compose("exec", "-T", "api", "cat", "/proc/self/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == ["10001"] * 4
    assert (fields["CapEff"], fields["CapBnd"], fields["NoNewPrivs"]) == ("0" * 16, "0" * 16, "1")
    assert fields["Seccomp"] == "2"
    mounts = [line.split() for line in stack.compose("exec", "-T", "api", "cat", "/proc/mounts").splitlines()]
    [options] = [options for _, target, _, options, *_ in mounts if target == "/"]
    assert "ro" in options.split(",")
    written = "for folder in /data /tmp /opt/results; do touch $folder/file 2>&- && echo $folder; done; true"
    assert stack.compose("exec", "-T", "api", "sh", "-c", written).split() == ["/data", "/tmp"]


def test_ports_are_reachable_on_loopback_only(stack: ComposeStack) -> None:
    assert stack.compose("port", "api", "8080").strip() == "127.0.0.1:8080"
    assert stack.compose("port", "rabbitmq", "5672").strip() == "127.0.0.1:5672"


def test_broker_reads_its_memory_limit(stack: ComposeStack) -> None:
    assert "(600000000 bytes)" in stack.compose("logs", "rabbitmq")


def test_first_requests_of_readme_have_the_output_that_it_shows(stack: ComposeStack, tmp_path: Path) -> None:
    stack.compose("exec", "-T", "api", "zof-results", "organizations", "create", ORGANIZATION)
    created = stack.compose(
        "exec", "-T", "api", "zof-results", "keys", "create", "--organization", ORGANIZATION, "--role", "admin"
    )
    stack.key = created.strip()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # instead of the alias that the local stack prints
    found = execute(first_requests(), tmp_path, {"RESULTS_URL": URL, "RESULTS_API_KEY": stack.key, "PATH": path})
    assert len(found) == 6
    assert differences(found) == []


def first_requests() -> list[Command]:
    """Return the commands from the upload on. Those before it read the results of `make run`."""
    section = (ROOT / "README.md").read_text().partition("## First requests")[2].partition("\n## ")[0]
    found = list(commands(section))
    [first] = [index for index, command in enumerate(found) if command.text.startswith("cat > junit.xml")]
    return found[first:]


def test_processes_share_their_rate_limits_in_redis(stack: ComposeStack) -> None:
    stack.get("/v1/runs")
    assert int(stack.compose("exec", "-T", "redis", "redis-cli", "dbsize")) > 0


async def test_nothing_is_lost_when_a_consumer_and_the_broker_end(stack: ComposeStack) -> None:
    publishing = asyncio.create_task(publish(stack))
    await asyncio.sleep(2)
    await asyncio.to_thread(stack.kill, "events")
    await asyncio.sleep(2)
    await asyncio.to_thread(stack.compose, "restart", "rabbitmq")
    await publishing
    await asyncio.to_thread(wait_until, lambda: len(stored_runs(stack)) == EVENTS)
    runs = await asyncio.to_thread(stored_runs, stack)
    assert {run["run_id"] for run in runs} == {f"load-{number}" for number in range(EVENTS)}
    assert {(run["counts"]["passed"], run["counts"]["failed"], run["revision"]) for run in runs} == {(2, 1, 1)}
    assert stack.container("events")["RestartCount"] == 1
    await asyncio.to_thread(wait_until, lambda: stack.health() == dict.fromkeys(LONG_RUNNING, "healthy"))
    assert stack.compose("exec", "-T", "api", "zof-results", "dead-letters", "list") == ""


def stored_runs(stack: ComposeStack) -> list[dict[str, Any]]:
    page = stack.get("/v1/runs?project_id=load&limit=1000")
    assert page["has_more"] is False
    found: list[dict[str, Any]] = page["data"]
    return found


async def publish(stack: ComposeStack) -> None:
    """Publish all events with confirms. Send each event again until the broker confirms it."""
    password = (stack.folder / "secrets" / "rabbitmq_password").read_text()
    pending = list(range(EVENTS))
    while pending:
        try:
            async with await connect(f"amqp://results:{password}@127.0.0.1/") as connection:
                exchange = await (await connection.channel()).get_exchange("runs")
                while pending:
                    await exchange.publish(message(pending[0]), RUN_COMPLETED, timeout=10)
                    pending.pop(0)
                    await asyncio.sleep(0.03)
        except (AMQPError, OSError, TimeoutError, RuntimeError):
            await asyncio.sleep(0.5)


def message(number: int) -> aio_pika.Message:
    cases = [result("logs in"), result("pays"), result("ships", "failed")]
    event = run_event(f"load-{number}", cases, id=f"load-{number}", organization=ORGANIZATION, project_id="load")
    return aio_pika.Message(
        body(event), content_type="application/cloudevents+json", delivery_mode=aio_pika.DeliveryMode.PERSISTENT
    )


def test_release_runs_without_a_checkout_and_keeps_the_data(stack: ComposeStack) -> None:
    stack.compose("down")
    assert engine("ps", "--all", "--quiet") == ""
    (stack.folder / "Dockerfile").unlink()
    shutil.rmtree(stack.folder / "service")
    engine("tag", "zof-results:local", "registry.example.org/results:1.0")
    engine("image", "rm", "zof-results:local")
    stack.settings |= {"IMAGE_NAME": "registry.example.org/results", "IMAGE_TAG": "1.0"}
    stack.start()
    assert stack.get("/v1/runs/ci-43")["counts"]["failed"] == 1
    assert len(stored_runs(stack)) == EVENTS


def test_stop_is_orderly_and_deletes_everything(stack: ComposeStack) -> None:
    stack.compose("stop")
    exit_codes = {name: stack.container(name)["State"]["ExitCode"] for name in LONG_RUNNING - {"rabbitmq"}}
    assert exit_codes == dict.fromkeys(exit_codes, 0)
    stack.compose("--profile", "*", "down", "--volumes")
    assert engine("ps", "--all", "--quiet") == engine("volume", "ls", "--quiet") == ""
