"""Base images made from Debian packages with mmdebstrap, for machines whose network has no container registry.

`root_archive` returns a tar file. `podman import` and `docker import` give it the name of the image that it replaces.
"""

import fcntl
import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zof-results-tests"

_SUITE: Final = "trixie"
_TIMEOUT_S: Final = 900
_SEARCH_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Run the script that $SETUP contains in the new root file system, $1.
_SETUP_HOOK: Final = 'printf %s "$SETUP" >"$1/setup" && chroot "$1" sh -eu /setup && rm "$1/setup"'


@dataclass(frozen=True)
class BaseImage:
    """The recipe of a base image: its packages, and what they lack compared with the image of this name.

    `setup` is a shell script that runs as root in the new file system. `changes` are instructions of a Dockerfile,
    such as `ENV`, for the option `--change` of `podman import` and `docker import`.
    """

    name: str
    packages: tuple[str, ...]
    setup: str = ""
    changes: tuple[str, ...] = (f"ENV PATH={_SEARCH_PATH}",)


# As in the official image, Python is below /usr/local and accepts packages from pip.
PYTHON: Final = BaseImage(
    "docker.io/library/python:3.13-slim-trixie",
    ("ca-certificates", "passwd", "python3", "python3-pip-whl"),
    """\
library=/usr/lib/python3.13
rm -r /usr/local/lib/python3.13 $library/EXTERNALLY-MANAGED
ln -s $library /usr/local/lib/python3.13
ln -s /usr/bin/python3.13 /usr/local/bin/python3
ln -s python3 /usr/local/bin/python
mkdir -p $library/dist-packages
python -m zipfile --extract /usr/share/python-wheels/pip-*.whl $library/dist-packages
printf '#!/bin/sh\\nexec python -m pip "$@"\\n' >/usr/local/bin/pip
chmod 755 /usr/local/bin/pip
find $library -name __pycache__ -prune -exec rm -r {} +
""",
    (f"ENV PATH={_SEARCH_PATH}", 'CMD ["python3"]'),
)


def root_archive(image: BaseImage, cache: Path = CACHE) -> Path:
    """Return the tar file of the root file system. If the cache lacks it, mmdebstrap makes it, which needs root.

    The cache contains one file for each image name: the file of an older recipe is deleted.
    """
    name = image.name.rpartition("/")[2].replace(":", "-")
    path = cache / f"{name}.{hashlib.sha256(repr(image).encode()).hexdigest()[:16]}.tar"
    with _locked(cache / f"{name}.lock"):
        if not path.exists():
            for old in cache.glob(f"{name}.*.tar"):
                old.unlink()
            _make(image, path)
    return path


def _make(image: BaseImage, path: Path) -> None:
    unfinished = path.with_suffix(".new")
    options = [f"--aptopt={line}" for line in _apt_options()]
    packages = f"--include={','.join(image.packages)}"
    command = [
        "mmdebstrap", "--mode=root", "--variant=apt", "--format=tar", "--quiet", packages, *options,
        f"--customize-hook={_SETUP_HOOK}", _SUITE, str(unfinished), *_apt_sources(),
    ]  # fmt: skip
    environment = {**os.environ, "SETUP": image.setup}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{image.name}: mmdebstrap failed: {done.stderr}")
    unfinished.rename(path)


def _apt_sources() -> list[str]:
    """Return the lines of this machine's Debian sources of the suite. Without them, mmdebstrap uses deb.debian.org."""
    line = "deb $(REPO_URI) $(RELEASE) $(COMPONENT)"
    found = _output("apt-get", "indextargets", "--format", line, "Created-By: Packages", "Origin: Debian")
    suites = (_SUITE, f"{_SUITE}-updates", f"{_SUITE}-security")
    return sorted({entry for entry in found if entry.split()[2] in suites and "://" in entry})


def _apt_options() -> list[str]:
    """Return how this machine reaches its package servers: proxies, certificates, and checks of dates."""
    prefixes = ("Acquire::http", "Acquire::https", "Acquire::Check-", "Acquire::Retries")
    return [line for line in _output("apt-config", "dump", "Acquire") if line.startswith(prefixes)]


def _output(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time make the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
