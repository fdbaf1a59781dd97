"""The image of this checkout, built once for the tests of this folder."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.base_images import PYTHON
from tests.containers.engine import ContainerEngine, missing_requirements, running_engine
from tests.containers.images import COMMIT, IMAGE

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def engine() -> Iterator[ContainerEngine]:
    """An engine with the image, built from the unmodified Dockerfile."""
    if missing := missing_requirements():
        pytest.skip(f"the container image can't be built and run here. Missing: {missing}")
    # The path of a temporary folder of pytest is too long for podman.
    with running_engine(Path(tempfile.mkdtemp(prefix="zof-results-"))) as opened:
        opened.import_base(PYTHON)
        opened.build(ROOT, IMAGE, ZOF_RESULTS_COMMIT=COMMIT)
        yield opened
