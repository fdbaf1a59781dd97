"""README: its settings are the existing ones, its links lead to files, and generated documents are current."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.settings import Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_generated_documents_are_current() -> None:
    subprocess.run([sys.executable, str(ROOT / "scripts" / "write-docs"), "--check"], cwd=ROOT, check=True)


def test_readme_names_no_unknown_setting() -> None:
    known = {f"RESULTS_{name.upper()}" for name in Settings.model_fields}
    client_variables = {"RESULTS_URL", "RESULTS_API_KEY", "RESULTS_PROJECT", "RESULTS_CLIENT_SHA256"}
    assert set(re.findall(r"\bRESULTS_[A-Z_0-9]+\b", README)) <= known | client_variables


@pytest.mark.parametrize("path", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_links_of_readme_lead_to_files(path: str) -> None:
    assert (ROOT / path).exists()
