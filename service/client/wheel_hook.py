"""The build hook of hatch that includes the commit in a wheel, and the client archive if `make client` has built it."""

import runpy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class WheelHook(BuildHookInterface[BuilderConfig]):
    """Adds service/commit.txt, and dist/zof-results-client.pyz to the client package, from which the API serves it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Include both files. An editable installation finds the archive and the commit in the checkout."""
        if version != "standard":
            return
        root = Path(self.root)
        included: dict[str, str] = build_data["force_include"]
        archive = root / "dist" / "zof-results-client.pyz"
        if archive.exists():
            included[str(archive)] = f"service/client/dist/{archive.name}"
        module = runpy.run_path(str(root / "service" / "client" / "built_commit.py"))
        self._folder = TemporaryDirectory(prefix="zof-results-")
        commit = Path(self._folder.name) / "commit.txt"
        commit.write_text(module["find_built_commit"](root), encoding="ascii")
        included[str(commit)] = f"service/{commit.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Delete the temporary file."""
        if version == "standard":
            self._folder.cleanup()
