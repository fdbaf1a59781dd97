"""The folder that gives the pytest of a command the plugin, whichever environment it runs in."""

import pkgutil
from pathlib import Path
from typing import Final

from service.version import find_version

_MODULE: Final = "pytest_zof_results"
_NAME: Final = "pytest-zof-results"  # also of the package in integrations/pytest, so that pytest loads one of both


def install_probe(folder: Path) -> None:
    """Write the plugin into a folder that the caller adds at the front of PYTHONPATH.

    pytest finds it like an installed package. A command that doesn't pass PYTHONPATH to pytest runs without it.
    """
    source = pkgutil.get_data(__package__, f"{_MODULE}.py")
    if source is None:
        raise FileNotFoundError(_MODULE)
    (folder / f"{_MODULE}.py").write_bytes(source)
    version = find_version()
    metadata = folder / f"{_MODULE}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {_NAME}\nVersion: {version}\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(f"[pytest11]\nzof_results = {_MODULE}\n", encoding="utf-8")
