"""An engine of its own for the test of compose.yaml: dockerd with its files in a temporary folder.

It runs in network, mount, and process namespaces. Therefore, it doesn't change the firewall or the interfaces of the host.
"""

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

PROGRAMS: Final = {
    "dockerd": "docker.io", "docker": "docker-cli", "docker-compose": "docker-compose", "iptables": "iptables",
    "slirp4netns": "slirp4netns", "mmdebstrap": "mmdebstrap", "unshare": "util-linux",
}  # fmt: skip
_START_S: Final = 60
_STOP_S: Final = 60


class EngineUnavailable(Exception):
    """The engine did not start."""


@contextmanager
def process_in_namespaces(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start the command in new namespaces, and connect their network to that of this machine through a process."""
    options = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    process = subprocess.Popen(["unshare", *options, *command])
    network = None
    try:
        _wait_until(lambda: _network(process.pid) != _network(os.getpid()), "the namespaces")
        network = subprocess.Popen(
            ["slirp4netns", "--configure", "--mtu=1400", "--disable-host-loopback", str(process.pid), "tap0"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        yield process
    finally:
        for started in (process, network):
            if started and started.poll() is None:
                started.kill()
            if started:
                started.wait()


def _network(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/net").readlink())


@contextmanager
def running_engine() -> Iterator[None]:
    """Run dockerd, and set DOCKER_HOST. Only for a process in its own namespaces."""
    _wait_until(lambda: "tap0" in Path("/proc/net/route").read_text(), "the network")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    with tempfile.TemporaryDirectory(prefix="zof-results-compose-", dir="/var/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        socket = f"unix://{folder / 'socket'}"
        group = f"/{folder.name}"
        options = [
            f"--data-root={folder / 'data'}", f"--exec-root={folder / 'exec'}", f"--pidfile={folder / 'pid'}",
            f"--host={socket}", f"--cgroup-parent={group}", f"--default-ulimit=nofile={files}:{files}",
        ]  # fmt: skip
        with (folder / "log").open("w") as log:
            engine = subprocess.Popen(["dockerd", *options], stdout=log, stderr=log)
        os.environ["DOCKER_HOST"] = socket
        try:
            _wait_until(lambda: _answers() or engine.poll() is not None, "dockerd")
            if engine.poll() is not None:
                raise EngineUnavailable((folder / "log").read_text()[-2_000:])
            yield
        finally:
            engine.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                engine.wait(_STOP_S)
            _remove_control_groups(group)


def _answers() -> bool:
    return subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0


def _remove_control_groups(group: str) -> None:
    """Remove the groups that dockerd leaves: one in each hierarchy of version 1, or one of version 2."""
    for folder in [Path("/sys/fs/cgroup") / group[1:], *Path("/sys/fs/cgroup").glob(f"*{group}")]:
        with suppress(OSError):
            folder.rmdir()


def _wait_until(condition: Callable[[], bool], name: str) -> None:
    end = time.monotonic() + _START_S
    while not condition():
        if time.monotonic() > end:
            raise EngineUnavailable(f"{name}: not ready after {_START_S} s")
        time.sleep(0.1)


def run_in_namespaces(module: str) -> int:
    """Run a module of Python in new namespaces, and return its exit code."""
    with process_in_namespaces([sys.executable, "-m", module]) as process:
        return process.wait()
