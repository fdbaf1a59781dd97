"""A Go client that openapi-generator generates: list, get, upload, export, and read errors."""

import os
import shutil
from pathlib import Path

import orjson
import pytest

from tests.generated_clients.openapi_generator import ROOT, OpenApiGenerator
from tests.generated_clients.processes import run
from tests.served import Api

REPORT = b'<testsuite name="shop"><testcase name="pays" classname="shop"/></testsuite>'
# The generated client and the program need only the standard library.
VARIABLES = {"GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local"}


@pytest.mark.nightly
@pytest.mark.skipif(not shutil.which("go"), reason="Go is not installed (Debian package: golang)")
async def test_go_client_lists_gets_uploads_exports_and_reads_errors(
    api: Api, openapi_generator: OpenApiGenerator, tmp_path: Path
) -> None:
    folder = tmp_path / "client"
    warnings = await openapi_generator.generate(
        "go", folder, "--package-name", "results", "--git-host", "example.org", "--git-user-id", "acme",
        "--git-repo-id", "results",
    )  # fmt: skip
    assert warnings == []
    shutil.copytree(ROOT / "tests" / "data" / "go_client", folder / "program")
    variables = {**os.environ, **VARIABLES}
    await run(folder, "go", "vet", "./...", variables=variables)
    await run(folder, "go", "build", "-o", "program/", "./program", variables=variables)
    report = tmp_path / "report.xml"
    report.write_bytes(REPORT)
    printed = orjson.loads(
        await run(folder, folder / "program" / "program", str(api.http.make_url("")), api.key, str(report))
    )
    assert printed == {
        "listed": ["pays", "logs in"],
        "run": "failed",
        "receipt": ["stored", "run/2", 1],
        "artifact": len(REPORT),
        "export": ["succeeded", 2, True],
        "gate": 1,
        "error": ["not_found", "run 'missing' not found"],
    }
