"""openapi-generator, installed from the package index for the tests: a JAR file that needs Java."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from service.api.openapi.document import document
from tests.generated_clients.processes import run

ROOT: Final = Path(__file__).parents[2]
LOCK: Final = ROOT / "tests" / "data" / "openapi_generator" / "requirements.txt"
NOT_GENERATED: Final = ",".join(f"{kind}=false" for kind in ("apiTests", "modelTests", "apiDocs", "modelDocs"))
# Warnings that state no problem of the document.
EXPECTED_WARNINGS: Final = re.compile(
    r"OpenAPI 3\.1 support is still in beta|reserved word|Failed to get the schema name: null"
    r"|Codegen property is null \(e\.g\. map/dict of undefined type\)"
)


class OpenApiGenerator(NamedTuple):
    """The JAR file of the locked version."""

    jar: Path

    async def generate(self, language: str, target: Path, *options: str) -> list[str]:
        """Write a client for the document, and return the unexpected warnings."""
        source = write_document(target)
        log = await run(
            target, "java", "-jar", self.jar, "generate", "--generator-name", language, "--input-spec", source,
            "--output", target, "--global-property", f"apis,models,supportingFiles,{NOT_GENERATED}", *options,
        )  # fmt: skip
        lines = log.decode().splitlines()
        return [line for line in lines if re.search("WARN|ERROR", line) and not EXPECTED_WARNINGS.search(line)]


def write_document(target: Path) -> Path:
    """Create the folder of a client, and write the document next to it."""
    target.mkdir()
    source = target.with_suffix(".json")
    source.write_bytes(document())
    return source


@pytest.fixture(scope="session")
def openapi_generator(tmp_path_factory: pytest.TempPathFactory) -> OpenApiGenerator:
    """Install the locked version into a folder of its own. uv downloads it only once."""
    if not shutil.which("java"):
        pytest.skip("Java is not installed (Debian package: default-jre-headless)")
    uv = shutil.which("uv") or ROOT / ".tools" / "bin" / "uv"
    folder = tmp_path_factory.mktemp("openapi-generator")
    subprocess.run(
        [
            uv, "pip", "install", "--quiet", "--python", sys.executable, "--require-hashes", "--requirement", LOCK,
            "--target", folder,
        ],
        check=True, timeout=300,
    )  # fmt: skip
    [jar] = folder.glob("openapi_generator_cli/*.jar")
    return OpenApiGenerator(jar)
