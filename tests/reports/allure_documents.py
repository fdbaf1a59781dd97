"""Results and containers of Allure for tests, and what an upload of them stores."""

import json
from pathlib import Path
from typing import Any

from service.reports.conversion.uploads import ReadUpload, ReportFile, read_upload
from service.reports.model import ReportLimits
from tests.reports.conversions import convert_text
from tests.reports.tools.reading import ReadRun, read_run

START = 1_780_000_000_000
LABELS = [{"name": "testClass", "value": "shop.CartTest"}, {"name": "testMethod", "value": "adds"}]
FAILURE = {"message": "no stock", "trace": "Error: no stock\n  at cart"}


def result(uuid: str = "u1", **fields: Any) -> dict[str, Any]:
    defaults = {"uuid": uuid, "name": "adds", "status": "passed", "historyId": uuid, "labels": LABELS, "start": START}
    return {**defaults, "stop": START + 5, **fields}


def attempt(number: int, status: str, **fields: Any) -> dict[str, Any]:
    """Return an attempt of one test. All attempts but the first state the number of their retry."""
    retry = [{"name": "Retry", "value": str(number - 1), "excluded": True}] if number > 1 else []
    defaults = {"status": status, "historyId": "h", "start": START + number, "parameters": retry}
    return result(f"u{number}", **{**defaults, **fields})


def labels_of(framework: str) -> list[dict[str, str]]:
    return [*LABELS, {"name": "framework", "value": framework}]


def container(*children: str, **fields: Any) -> dict[str, Any]:
    return {"uuid": "c", "children": list(children), "befores": [], "afters": [], **fields}


def fixture(status: str | None = "broken", **fields: Any) -> dict[str, Any]:
    return {"name": "database", "status": status, "statusDetails": FAILURE, **fields}


def read(tmp_path: Path, *documents: dict[str, Any]) -> ReadRun:
    """Return the run of an upload with one file per document, whose names don't state their order."""
    folder = tmp_path / "allure-results"
    folder.mkdir()
    for number, document in enumerate(documents):
        kind = "result" if "status" in document else "container"
        (folder / f"{9 - number}-{kind}.json").write_text(json.dumps(document), "utf-8")
    return read_run(folder)


def read_one(tmp_path: Path, document: dict[str, Any]) -> Any:
    _, results = convert_text(json.dumps(document), tmp_path)
    assert len(results) == 1
    return results[0]


def upload(folder: Path, files: dict[str, bytes], limits: ReportLimits | None = None) -> ReadUpload:
    reports = []
    for index, (name, content) in enumerate(files.items()):
        source = folder / f"report-{index}"
        source.write_bytes(content)
        reports.append(ReportFile(source, folder / f"results-{index}", name, "application/json", None))
    return read_upload(reports, limits or ReportLimits())


def outcomes(run: ReadRun) -> list[tuple[str, str]]:
    return [(case.name, case.status) for case in run.cases]
