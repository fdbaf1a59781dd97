"""The image of this checkout, built once for the tests of this folder."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.base_images import PYTHON
from tests.containers.engine import ContainerEngine, missing_requirements, running_engine
from tests.containers.images import COMMIT, IMAGE

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests that need an engine. A mark has one line for all tests of a file, unlike a skip in a fixture."""
    if missing := missing_requirements():
        skip = pytest.mark.skip(reason=f"the container image can't be built and run here; missing: {missing}")
        for item in items:
            if item.path.is_relative_to(FOLDER) and item.get_closest_marker("nightly"):
                item.add_marker(skip)


@pytest.fixture(scope="session")
def engine() -> Iterator[ContainerEngine]:
    """An engine with the image, built from the unmodified Dockerfile."""
    # The path of a temporary folder of pytest is too long for podman.
    with running_engine(Path(tempfile.mkdtemp(prefix="zof-results-"))) as opened:
        opened.import_base(PYTHON)
        opened.build(ROOT, IMAGE, ZOF_RESULTS_COMMIT=COMMIT)
        yield opened
