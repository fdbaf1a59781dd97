"""The commands of README, the tutorial, and the guides, executed literally and in order against a local stack.

The output is compared with the output that the page shows. Only the ports differ from those of a reader.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from service.dev.ports import choose_port
from service.domain.client_archive import ARCHIVE_FOLDER, ARCHIVE_NAME
from tests.builds import build_client
from tests.databases import cloned_database
from tests.dev.running_stack import RunningStack
from tests.docs.blocks import ROOT, Command, commands
from tests.docs.pages import PAGES_OF_USERS
from tests.docs.shell import differences, execute

pytestmark = pytest.mark.slow

RECEIVER_PORT = "9000"
# The variables of the CI job in which a reader executes the commands of a page.
JOBS = {
    "docs/guides/ci.md": {
        "GITLAB_CI": "true", "CI_PIPELINE_ID": "7", "CI_JOB_NAME": "test", "CI_COMMIT_REF_NAME": "main",
    },
    "docs/gates.md": {
        "GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "812", "GITHUB_JOB": "gate", "GITHUB_REF_NAME": "fix",
        "RESULTS_PROJECT": "shop",
    },
}  # fmt: skip
# What other jobs of the pipeline executed.
BEFORE = {
    "docs/gates.md": [
        Command('curl -fsSo client.pyz "$RESULTS_URL/client.pyz"'),
        Command(
            """echo '<testsuite name="shop"><testcase name="pays"><failure/></testcase></testsuite>' > failed.xml"""
        ),
        Command("python3 client.pyz report failed.xml --project shop --pipeline --wait"),
    ]
}


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, template: str, amqp_url: str
) -> Iterator[RunningStack]:
    """A stack as `make run` starts it, with the servers of the test session."""
    build_client()
    with cloned_database(postgres_url, template) as database_url:
        stack = RunningStack(
            tmp_path_factory.mktemp("stack"), RESULTS_DATABASE_URL=database_url, RESULTS_AMQP_URL=amqp_url,
            RESULTS_QUEUE_PREFIX=f"docs-{uuid4().hex[:8]}.", RESULTS_HTTP_PORT=str(choose_port()),
        )  # fmt: skip
        try:
            yield stack.await_ready()
        finally:
            stack.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder in which a reader executes the commands, without a clone. It has a report of the reader."""
    (tmp_path / "junit.xml").write_text('<testsuite name="shop"><testcase name="pays"/></testsuite>')
    return tmp_path


@pytest.mark.parametrize("name", PAGES_OF_USERS)
def test_commands_have_the_output_that_the_page_shows(stack: RunningStack, folder: Path, name: str) -> None:
    port = str(choose_port())
    variables = {
        "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}",
        "RESULTS_URL": stack.ready["api_url"],
        "RESULTS_API_KEY": stack.ready["api_key"],
        "RESULTS_CLIENT_SHA256": (ROOT / ARCHIVE_FOLDER / f"{ARCHIVE_NAME}.sha256").read_text().split()[0],
        **JOBS.get(name, {}),
    }
    page = (ROOT / name).read_text().replace(RECEIVER_PORT, port)
    executed = [*BEFORE.get(name, []), *commands(page)]
    problems = differences(execute(executed, folder, variables))
    assert not problems, "\n\n".join(problems)
