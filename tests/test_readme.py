"""The README names what there is: every setting, and only files that exist."""

import re
from pathlib import Path

import pytest

from service.settings import Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_named(name: str) -> None:
    assert f"`RESULTS_{name.upper()}`" in README


def test_no_other_setting_is_named() -> None:
    known = {f"RESULTS_{name.upper()}" for name in Settings.model_fields}
    for_commands = {"RESULTS_URL", "RESULTS_API_KEY", "RESULTS_PROJECT"}
    assert set(re.findall(r"\bRESULTS_[A-Z_]+\b", README)) <= known | for_commands


@pytest.mark.parametrize("path", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_links_lead_to_files(path: str) -> None:
    assert (ROOT / path).exists()
