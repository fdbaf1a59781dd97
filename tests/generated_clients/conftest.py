"""An API whose reports and exports are processed, and the generator that several tests use."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from service.settings import Settings
from tests.exporting import exporting
from tests.generated_clients.openapi_generator import openapi_generator as openapi_generator
from tests.report_api import Reports, new_ingester, running_ingester
from tests.run_events import result, run_event
from tests.served import Api

OUTCOMES: Final = {"logs in": "passed", "pays": "failed"}


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """Serve the API with a run of two results, and with workers for exports and reports."""
    storage_url = (tmp_path / "files").as_uri()
    async with exporting(database_url, storage_url) as exports, exports.running_worker():
        ingester = new_ingester(Settings(artifacts_url=storage_url), exports.api.store.pool)
        async with running_ingester(Reports(exports.api, exports.storage), ingester):
            await exports.api.store.ingest(run_event(results=[result(*outcome) for outcome in OUTCOMES.items()]))
            yield exports.api
