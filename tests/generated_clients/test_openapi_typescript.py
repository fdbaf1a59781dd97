"""A client with types that openapi-typescript generates: list, get, upload, export, and create a webhook."""

import shutil
from pathlib import Path
from typing import Final

import orjson
import pytest

from service.api.openapi.document import document
from tests.generated_clients.conftest import OUTCOMES
from tests.generated_clients.processes import run
from tests.served import Api

SOURCE: Final = Path(__file__).parents[1] / "data" / "typescript_client"

needs_node = pytest.mark.skipif(
    not (shutil.which("node") and shutil.which("npm")), reason="Node.js is not installed (Debian packages: nodejs, npm)"
)


async def compile_client(folder: Path) -> None:
    """Install the locked packages, generate the types, check the types of the client, and compile it."""
    await run(folder, "npm", "ci", "--prefer-offline")
    await run(folder, "node", "generate.mjs")
    await run(folder, "npx", "--no-install", "tsc", "--project", ".")


def test_locked_packages_have_hashes_and_no_addresses() -> None:
    packages = orjson.loads((SOURCE / "package-lock.json").read_bytes())["packages"]
    assert all("integrity" in package and "resolved" not in package for path, package in packages.items() if path)


@pytest.mark.slow
@pytest.mark.nightly
@needs_node
async def test_typescript_client_lists_gets_uploads_exports_and_creates_a_webhook(api: Api, tmp_path: Path) -> None:
    folder = shutil.copytree(SOURCE, tmp_path / "client", ignore=shutil.ignore_patterns("node_modules"))
    (folder / "openapi.json").write_bytes(document())
    await compile_client(folder)
    printed = orjson.loads(await run(folder, "node", "client.js", str(api.http.make_url("")), api.key))
    assert sorted(printed["listed"]) == sorted(OUTCOMES)
    name = printed["listed"][0]
    assert printed["result"] == {"name": name, "run": "run_1", "attempts": [OUTCOMES[name]]}
    assert printed["artifact"] == len("text")
    assert printed["receipts"] == [["stored", name, 1] for name in ("from_file", "from_form", "from_object")]
    assert (printed["export"]["status"], printed["export"]["rows"]) == ("succeeded", 5)
    assert printed["export"]["text"].startswith("name,status\n")
    assert printed["same_file"]
    assert printed["webhook"]["events"] == ["run.completed"]
    assert printed["webhook"]["secret"].startswith("whsec_")
    assert printed["error"] == {"code": "not_found", "message": "run 'missing' not found"}
