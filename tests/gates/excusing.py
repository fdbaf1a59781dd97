"""Requests of excuses for tests: reports are uploaded and processed, as a CI job does."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any
from xml.sax.saxutils import quoteattr

import pydantic

from service.gates.contract import Excuse
from tests.report_api import Reports

MODEL = pydantic.TypeAdapter(Excuse)
ELEMENTS = {
    "passed": "", "failed": '<failure message="no"/>', "error": '<error message="no"/>', "skipped": "<skipped/>"
}  # fmt: skip
BASELINE = {"a": "passed", "b": "passed", "c": "passed"}
FAILING = {"a": "failed", "b": "passed", "c": "passed"}
JOB: Mapping[str, Any] = {"part": "unit", "attempt": "1"}


def junit(results: Mapping[str, str], suite: str = "shop", **texts: str) -> bytes:
    """Return a report. `texts` replace the elements of single cases."""
    cases = "".join(
        f"<testcase name={quoteattr(name)} time='0.1'>{texts.get(name, ELEMENTS[status])}</testcase>"
        for name, status in results.items()
    )
    return f"<testsuite name={quoteattr(suite)}>{cases}</testsuite>".encode()


class Jobs:
    """The uploads and the requests of CI jobs."""

    def __init__(self, reports: Reports) -> None:
        self.reports, self.api = reports, reports.api
        self._hour = 0

    async def upload(self, results: Mapping[str, str] | bytes, run_id: str = "run_1", **params: Any) -> str:
        """Upload a report, wait until it is processed, and return its receipt."""
        body = results if isinstance(results, bytes) else junit(results)
        chosen = {"branch": "main", **params}
        return str((await self.reports.ingest(BytesIO(body), run_id, chosen))["id"])

    async def store_baseline(self, results: Mapping[str, str] | bytes = BASELINE, **params: Any) -> None:
        """Store an earlier complete run of the base branch."""
        await self.upload(results, "main_1", completed_at="2026-05-01T01:00:00Z", **params)

    async def quarantine(self, name: str = "a", suite: str | None = "shop", **fields: Any) -> str:
        body = {"project_id": "shop", "name": name, "suite": suite, "reason": "unstable", **fields}
        response = await self.api.send("POST", "/v1/quarantines", json={k: v for k, v in body.items() if v is not None})
        assert response.status == 201, await response.text()
        return str((await response.json())["id"])

    async def post(
        self, receipts: Sequence[str], run_id: str = "run_1", key: str | None = None, **fields: Any
    ) -> tuple[int, Any]:
        body = {"receipts": list(receipts), **fields}
        response = await self.api.send("POST", f"/v1/runs/{run_id}/excuses", key=key, json=body)
        content = await response.json()
        if response.status in (200, 201):
            MODEL.validate_python(content)
            assert content["excused"] == (not content["reasons"])
        return response.status, content

    async def excuse(self, *receipts: str, **fields: Any) -> Any:
        status, content = await self.post(receipts, **fields)
        assert status in (200, 201), content
        return content

    async def conditions(self, *receipts: str, **fields: Any) -> list[str]:
        """Return the conditions that refuse an excuse."""
        return [reason["condition"] for reason in (await self.excuse(*receipts, **fields))["reasons"]]
