"""A private container engine: buildah and podman with their configuration, images, and containers in one folder."""

import configparser
import os
import resource
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.containers.base_images import BaseImage, root_archive

PROGRAMS: Final = ("buildah", "podman", "runc", "mmdebstrap")

_COMMAND_TIMEOUT_S: Final = 120
_BUILD_TIMEOUT_S: Final = 1200
_BUNDLE: Final = "/etc/ssl/certs/ca-certificates.crt"  # of a Debian image
_QUIET: Final = "--log-level=error"  # podman warns about the storage driver that it has selected
_INDEX_OPTIONS: Final = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries")

# cgroupfs works without systemd. podman has its locks in a file, because those in shared memory are for all engines.
_CONTAINERS_CONF: Final = """\
[containers]
default_ulimits = [{ulimits}]
http_proxy = false
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
runtime = "runc"
tmp_dir = "{folder}/tmp"
"""
_STORAGE_CONF: Final = """\
[storage]
driver = ""
graphroot = "{folder}/storage"
runroot = "{folder}/run"
"""


class CommandFailed(Exception):
    """A command of the engine, or of a container that it ran, exited with another status than 0."""


class ContainerEngine:
    """Builds images and runs containers as root, on cgroups of both versions, without the engine of the machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "containers.conf").write_text(_CONTAINERS_CONF.format(folder=folder, ulimits=_ulimits()))
        (folder / "storage.conf").write_text(_STORAGE_CONF.format(folder=folder))
        (folder / "registries.conf").write_text('unqualified-search-registries = ["docker.io"]\n')
        (folder / "pip.conf").write_text(pip_configuration())
        self._environment = {
            **os.environ,
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
            "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
        }

    def import_base(self, image: BaseImage) -> None:
        changes = [f"--change={change}" for change in image.changes]
        self.podman("import", *changes, str(root_archive(image)), image.name)

    def build(self, context: Path, name: str, **arguments: str) -> None:
        """Build the Dockerfile of the folder with its build arguments, the index of this machine, and its certificates.

        The mounted files are no part of the image.
        """
        mounted = {_certificates(): _BUNDLE, str(self._folder / "pip.conf"): "/etc/pip.conf"}
        volumes = [f"--volume={source}:{target}:ro" for source, target in mounted.items()]
        options = [f"--build-arg={argument}={value}" for argument, value in arguments.items()]
        command = ["build", "--pull=never", "--network=host", "--format=docker", *volumes, *options, f"--tag={name}"]
        _check(self._run("buildah", *command, str(context), timeout_s=_BUILD_TIMEOUT_S))

    def podman(self, *arguments: str) -> bytes:
        """Return the standard output of a command. Raises CommandFailed with all output."""
        return _check(self._run("podman", *arguments)).stdout

    def succeeds(self, *arguments: str) -> bool:
        return self._run("podman", *arguments).returncode == 0

    def logs(self, container: str) -> str:
        done = _check(self._run("podman", "logs", container))
        return (done.stdout + done.stderr).decode(errors="replace")

    def start_podman(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["podman", _QUIET, *arguments], env=self._environment)

    def remove_everything(self) -> None:
        _check(self._run("buildah", "rm", "--all"))  # of an interrupted build
        self.podman("rm", "--all", "--force", "--time=0")
        self.podman("volume", "rm", "--all", "--force")
        self.podman("rmi", "--all", "--force")

    def _run(
        self, program: str, *arguments: str, timeout_s: float = _COMMAND_TIMEOUT_S
    ) -> subprocess.CompletedProcess[bytes]:
        command = [program, _QUIET, *arguments]
        return subprocess.run(command, env=self._environment, capture_output=True, check=False, timeout=timeout_s)


def _check(done: subprocess.CompletedProcess[bytes]) -> subprocess.CompletedProcess[bytes]:
    if done.returncode != 0:
        printed = (done.stdout + done.stderr).decode(errors="replace")
        raise CommandFailed(f"{' '.join(done.args[:3])} exited with {done.returncode}:\n{printed}")
    return done


@contextmanager
def running_engine(folder: Path) -> Iterator[ContainerEngine]:
    """Create an engine in the folder; remove its containers, images, and the folder at the end."""
    engine = ContainerEngine(folder)
    try:
        yield engine
    finally:
        engine.remove_everything()
        shutil.rmtree(folder)


def missing_requirements() -> str:
    """Return what this machine lacks to build and run images, or an empty string."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if os.geteuid() != 0:
        missing.insert(0, "root")
    return ", ".join(missing)


def _ulimits() -> str:
    """Return the limits of this process: without CAP_SYS_RESOURCE, the higher defaults of podman are an error."""
    limits = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}
    hard = {name: resource.getrlimit(limit)[1] for name, limit in limits.items()}
    return ", ".join(f'"{name}={value}:{value}"' for name, value in hard.items())


def pip_configuration() -> str:
    """Return the package index of this machine as a configuration file of pip for the build."""
    parser = configparser.RawConfigParser()
    parser.read(["/etc/xdg/pip/pip.conf", "/etc/pip.conf", Path.home() / ".pip/pip.conf", _user_configuration()])
    options = dict(parser["global"]) if parser.has_section("global") else {}
    options |= {name: os.environ[_variable(name)] for name in _INDEX_OPTIONS if _variable(name) in os.environ}
    chosen = [f"{name} = {options[name]}" for name in _INDEX_OPTIONS if name in options]
    return "\n".join(["[global]", f"cert = {_BUNDLE}", *chosen, ""])


def _user_configuration() -> str:
    default = Path.home() / ".config" / "pip" / "pip.conf"
    return os.environ.get("PIP_CONFIG_FILE", str(default))


def _variable(option: str) -> str:
    return f"PIP_{option.upper().replace('-', '_')}"


def _certificates() -> str:
    """Return the file with the certificates that this machine trusts."""
    candidates = (os.environ.get("PIP_CERT"), ssl.get_default_verify_paths().cafile, _BUNDLE)
    return next(path for path in candidates if path and Path(path).is_file())
