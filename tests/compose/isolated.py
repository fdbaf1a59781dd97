"""The part of `make test-compose` that runs in namespaces: dockerd, the images, and the tests of stack.py."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.compose.engine import EngineUnavailable, running_engine
from tests.compose.substitutes import SUBSTITUTES, load

_PULL_S = 600


def provide_images(folder: Path) -> None:
    """Pull the images, and load a substitute for each one that no registry provides."""
    for substitute in SUBSTITUTES:
        name = substitute.image.name
        pull = subprocess.run(["docker", "pull", "--quiet", name], capture_output=True, check=False, timeout=_PULL_S)
        if pull.returncode != 0:
            load(substitute, folder)
        print(f"{name}: {'a substitute from packages' if pull.returncode else 'pulled'}", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="zof-results-compose-") as folder:
        try:
            with running_engine():
                provide_images(Path(folder))
                sys.exit(pytest.main([str(Path(__file__).with_name("stack.py")), "-x", "-p", "no:cacheprovider", "-v"]))
        except EngineUnavailable as error:
            sys.exit(f"test-compose: not run, because the engine can't start: {error}")


if __name__ == "__main__":
    main()
