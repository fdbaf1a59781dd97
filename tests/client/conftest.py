"""The API that the commands use."""

from typing import Any

import pytest

from tests.api.conftest import shared_api as shared_api
from tests.api.served import serve


@pytest.fixture
async def api(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    async with serve(database_url) as served:
        yield served
