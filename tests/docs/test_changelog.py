"""Tests that the newest version of the changelog is that of the package."""

import re
import tomllib

from tests.docs.blocks import ROOT

VERSION_HEADING = re.compile(r"^## (\d\S*), \d{4}-\d\d-\d\d$", re.MULTILINE)  # not that of unreleased changes


def test_first_version_is_that_of_the_package() -> None:
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert VERSION_HEADING.findall((ROOT / "CHANGELOG.md").read_text())[0] == package["version"]
