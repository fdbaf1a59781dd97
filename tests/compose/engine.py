"""An engine of its own for the test of compose.yaml: dockerd with its files in a temporary folder.

It runs in its own network, mount, and process namespaces, so it doesn't change the firewall of the host.
"""

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_PACKAGES: Final = {
    "dockerd": "docker.io", "docker": "docker-cli", "ip": "iproute2", "iptables": "iptables",
    "mmdebstrap": "mmdebstrap", "slirp4netns": "slirp4netns", "unshare": "util-linux",
}  # fmt: skip
_PLUGINS: Final = {"compose": "docker-compose", "buildx": "docker-buildx"}
_NAMESERVER: Final = "10.0.2.3"  # of slirp4netns, which forwards requests to the name server of the machine
_START_S: Final = 60
_STOP_S: Final = 60


class EngineUnavailable(Exception):
    """The engine did not start."""


def missing_packages() -> list[str]:
    """Return the Debian packages that contain the missing programs."""
    missing = {package for program, package in _PACKAGES.items() if not shutil.which(program)}
    if "docker-cli" not in missing:
        missing |= {package for plugin, package in _PLUGINS.items() if not _succeeds("docker", plugin, "version")}
    return sorted(missing)


def run_in_namespaces(module: str) -> int:
    """Run a module of Python in new namespaces, and return its exit code. slirp4netns connects it to the network."""
    options = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    process = subprocess.Popen(["unshare", *options, sys.executable, "-m", module])
    reader, writer = os.pipe()  # slirp4netns exits when this process closes the pipe or exits
    try:
        own = _network(os.getpid())
        _wait_until(lambda: process.poll() is not None or _network(process.pid) != own, "the namespaces")
        if process.returncode is not None:
            raise EngineUnavailable("unshare can't create namespaces here")
        connect = ["--configure", "--mtu=1400", "--disable-host-loopback", f"--exit-fd={reader}"]
        network = subprocess.Popen(
            ["slirp4netns", *connect, str(process.pid), "tap0"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=[reader],
        )  # fmt: skip
        code = process.wait()
        os.close(writer)
        network.wait()
        return code
    finally:
        process.kill()
        process.wait()


def _network(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/net").readlink())


@contextmanager
def running_engine() -> Iterator[None]:
    """Run dockerd, and set DOCKER_HOST. Only for a process in its own namespaces."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    with tempfile.TemporaryDirectory(prefix="zof-results-compose-", dir="/var/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        _prepare_namespaces(folder)
        socket = f"unix://{folder / 'socket'}"
        options = [
            f"--data-root={folder / 'data'}", f"--exec-root={folder / 'exec'}", f"--pidfile={folder / 'pid'}",
            f"--host={socket}", f"--cgroup-parent=/{folder.name}", f"--default-ulimit=nofile={files}:{files}",
            "--exec-opt=native.cgroupdriver=cgroupfs",
        ]  # fmt: skip
        with (folder / "log").open("w") as log:
            engine = subprocess.Popen(["dockerd", *options], stdout=log, stderr=log)
        os.environ["DOCKER_HOST"] = socket
        try:
            _wait_until(lambda: _succeeds("docker", "version") or engine.poll() is not None, "dockerd")
            if engine.poll() is not None:
                raise EngineUnavailable((folder / "log").read_text()[-2_000:])
            yield
        finally:
            engine.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                engine.wait(_STOP_S)
            subprocess.run(["umount", "--recursive", folder / "data"], check=False, stderr=subprocess.DEVNULL)
            _remove_control_groups(folder.name)


def _prepare_namespaces(folder: Path) -> None:
    """Wait for the network, and hide what belongs to the host: its name servers and its containerd."""
    _wait_until(lambda: "tap0" in Path("/proc/net/route").read_text(), "the network")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    (folder / "resolv.conf").write_text(f"nameserver {_NAMESERVER}\n")
    subprocess.run(["mount", "--bind", folder / "resolv.conf", "/etc/resolv.conf"], check=True)
    if Path("/run/containerd").exists():
        subprocess.run(["mount", "-t", "tmpfs", "none", "/run/containerd"], check=True)


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _remove_control_groups(group: str) -> None:
    """Remove the groups that dockerd leaves: one in each hierarchy of version 1, or one of version 2."""
    root = Path("/sys/fs/cgroup")
    for path in [root / group, *root.glob(f"*/{group}")]:
        for folder, _, _ in os.walk(path, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()


def _wait_until(condition: Callable[[], bool], name: str) -> None:
    end = time.monotonic() + _START_S
    while not condition():
        if time.monotonic() > end:
            raise EngineUnavailable(f"{name}: not ready after {_START_S} s")
        time.sleep(0.1)
