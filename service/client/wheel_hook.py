"""The build hook of hatch that includes the client archive in a wheel, if `make client` has built it."""

from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ClientArchiveHook(BuildHookInterface[BuilderConfig]):
    """Adds dist/zof-results-client.pyz to the client package of a wheel, from which the API serves it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Include the archive. An editable installation finds it in the checkout."""
        archive = Path(self.root) / "dist" / "zof-results-client.pyz"
        if version == "standard" and archive.exists():
            build_data["force_include"][str(archive)] = f"service/client/dist/{archive.name}"
