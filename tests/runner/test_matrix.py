"""No kind of failure that isn't only a quarantined test is turned green, with the real tools."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.report_api import serving_reports_with_ingester
from tests.runner.installed_tools import install
from tests.runner.kinds import Change, Kind, cells
from tests.runner.matrix import Matrix

_FOLDER_VARIABLE = "RESULTS_TEST_TOOLS"  # keeps the installed tools for the next session


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def matrix(shared_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Matrix]:
    folder = tmp_path_factory.mktemp("matrix")
    tools = install(Path(os.environ.get(_FOLDER_VARIABLE) or tmp_path_factory.mktemp("tools")))
    async with serving_reports_with_ingester(shared_database_url, folder / "storage") as reports:
        yield Matrix(reports, tools, folder)


@pytest.mark.nightly
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("kind", "tool", "change"), [pytest.param(*cell, id=f"{cell[0].name}-{cell[1]}") for cell in cells()]
)
async def test_outcome(matrix: Matrix, kind: Kind, tool: str, change: Change) -> None:
    if matrix.lacks(tool):
        pytest.skip(f"{tool} isn't installed")
    outcome = await matrix.execute(tool, change)
    assert outcome.word == change.expected, f"{kind.title}: exit code {outcome.code}\n{outcome.output}"
