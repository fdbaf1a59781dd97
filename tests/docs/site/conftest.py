"""The built site, once per session."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT


@pytest.fixture(scope="session")
def built_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the site that `make site` builds. Each warning fails the build."""
    folder = tmp_path_factory.mktemp("built") / "site"
    variables = {"SITE_DIR": str(folder), "SITE_URL": "", "SOURCE_URL": "", "TAG": "main"}
    done = subprocess.run(
        ["make", "site"], cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder
