"""The image of this checkout and containers of it, restricted like the pods of deploy/kubernetes."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from tests.containers.engine import ContainerEngine

IMAGE: Final = "localhost/zof-results:test"
COMMIT: Final = "2c3f1a7d9e5b4086a1f2d3c4b5a697887f6e5d4c"  # any value: the test looks for it in the image

# Only /data and /tmp are writable. Everything listens on loopback, because the network is that of the machine.
_RESTRICTIONS: Final = (
    "--network=host", "--env=RESULTS_HTTP_HOST=127.0.0.1", "--read-only", "--read-only-tmpfs=false",
    "--tmpfs=/tmp:mode=1777,size=64m", "--cap-drop=all", "--security-opt=no-new-privileges",
    "--memory=512m", "--pids-limit=200",
)  # fmt: skip


@dataclass(frozen=True)
class Containers:
    """Containers that share settings, secrets, and a volume."""

    engine: ContainerEngine
    secrets: Path  # a folder with a file for each setting, as with Docker and Kubernetes
    volume: str

    def run(self, *arguments: str, volumes: Sequence[str] = (), **variables: str) -> bytes:
        """Run a command of the image to its end and return its standard output. Raises CommandFailed."""
        mounted = [f"--volume={volume}" for volume in volumes]
        options = ("--rm", "--log-driver=none", *self._options(variables), *mounted)
        return self.engine.podman("run", *options, IMAGE, *arguments)

    @contextmanager
    def running(self, *arguments: str, **variables: str) -> Iterator["Container"]:
        """Run a command of the image in the background, and remove the container at the end."""
        name = f"{arguments[0]}-{uuid4().hex[:8]}"
        self.engine.podman("run", "--detach", f"--name={name}", *self._options(variables), IMAGE, *arguments)
        try:
            yield Container(self.engine, name)
        finally:
            self.engine.podman("rm", "--force", "--time=0", name)

    def _options(self, variables: dict[str, str]) -> list[str]:
        mounted = [f"--volume={self.volume}:/data", f"--volume={self.secrets}:/run/secrets:ro"]
        variables = {"RESULTS_SECRETS_DIR": "/run/secrets", **variables}
        return [*_RESTRICTIONS, *mounted, *(f"--env={name}={value}" for name, value in variables.items())]


@dataclass(frozen=True)
class Container:
    """A container that runs in the background."""

    engine: ContainerEngine
    name: str

    @property
    def logs(self) -> str:
        return self.engine.logs(self.name)

    @property
    def is_healthy(self) -> bool:
        """The result of the image's own health check."""
        return self.engine.succeeds("healthcheck", "run", self.name)

    def execute(self, *command: str) -> str:
        return self.engine.podman("exec", self.name, *command).decode()

    def start_stop(self, timeout_s: int) -> subprocess.Popen[bytes]:
        """Send SIGTERM in the background, and SIGKILL after the timeout, which would change the exit status."""
        return self.engine.start_podman("stop", f"--time={timeout_s}", self.name)

    @property
    def exit_status(self) -> int:
        return int(self.engine.podman("inspect", "--format={{.State.ExitCode}}", self.name))
