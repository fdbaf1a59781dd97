"""The build hook of hatch that includes the commit and the client archive in each wheel."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class WheelHook(BuildHookInterface[BuilderConfig]):
    """Adds service/commit.txt, and the client archive to the client package, from which the API serves it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Include both files. An editable installation finds the archive and the commit in the checkout.

        Without the archive, an installation couldn't serve it, so that its error ends the build.
        """
        if version != "standard":
            return
        sys.path.insert(0, self.root)  # an isolated build imports only its requirements
        from service.client.archive import build
        from service.client.built_commit import find_built_commit
        from service.domain.client_archive import ARCHIVE_FOLDER, ARCHIVE_NAME
        from service.version import COMMIT_FILE

        self._folder = TemporaryDirectory(prefix="zof-results-")
        client, commit = (Path(self._folder.name, name) for name in (ARCHIVE_NAME, COMMIT_FILE))
        build(client)
        commit.write_text(find_built_commit(Path(self.root)), encoding="ascii")
        included: dict[str, str] = build_data["force_include"]
        included[str(client)] = f"service/client/{ARCHIVE_FOLDER}/{client.name}"
        included[str(commit)] = f"service/{commit.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Delete the temporary files."""
        if version == "standard":
            self._folder.cleanup()
