"""The last release and this version, with one empty database, broker, and storage."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.databases import empty_database
from tests.fixtures.broker import Broker
from tests.upgrade.versions import Version

ROOT: Final = Path(__file__).parents[2]
LAST_RELEASE: Final = "7126f2f"  # the commit of version 0.9.0


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of the last release, from the history of this checkout."""
    if subprocess.run(["git", "cat-file", "-e", LAST_RELEASE], cwd=ROOT, check=False, capture_output=True).returncode:
        pytest.skip("the checkout doesn't contain the history of the last release")
    folder = tmp_path_factory.mktemp("release")
    archive = subprocess.run(["git", "archive", LAST_RELEASE], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "--extract", "--directory", folder], input=archive, check=True)
    _allow_early_patches_of_python(folder / "service" / "contracts" / "run_events.py")
    return folder


def _allow_early_patches_of_python(module: Path) -> None:
    """Remove what only saves time: FailFast, with which the release doesn't start before Python 3.11.8 and 3.12.2."""
    module.write_text(re.sub(r"Annotated\[(list\[\w+\]), FailFast\(\)\]", r"\1", module.read_text()))


@pytest.fixture
def environment(postgres_url: str, broker: Broker, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The variables of all processes, with an empty database."""
    with empty_database(postgres_url) as url:
        yield {
            "RESULTS_DATABASE_URL": url,
            "RESULTS_AMQP_URL": broker.url,
            "RESULTS_QUEUE_PREFIX": broker.topology.prefix,
            "RESULTS_ARTIFACTS_URL": (tmp_path / "files").as_uri(),
            "RESULTS_PUBLIC_URL": "https://results.example.com",
            "RESULTS_RATE_LIMIT": "off",
            "RESULTS_WEBHOOK_ALLOW_LOOPBACK": "true",
            "RESULTS_WEBHOOK_RETRY_DELAYS_S": ",".join(["2"] * 50),
            "RESULTS_WEBHOOK_BREAKER_MIN_PAUSE_S": "1",
            "RESULTS_WEBHOOK_BREAKER_MAX_PAUSE_S": "2",
        }


@pytest.fixture
def old(release: Path, environment: dict[str, str], tmp_path: Path) -> Version:
    return version(release, environment, tmp_path / "old")


@pytest.fixture
def new(environment: dict[str, str], tmp_path: Path) -> Version:
    return version(ROOT, environment, tmp_path / "new")


def version(code: Path, environment: dict[str, str], logs: Path) -> Version:
    logs.mkdir()
    return Version(code, environment, logs)
