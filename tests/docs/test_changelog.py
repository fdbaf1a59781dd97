"""Tests that the headings of the changelog have the form that a release needs, and name the version of the package."""

import re
import tomllib

from tests.docs.blocks import ROOT


def test_first_version_is_that_of_the_package() -> None:
    headings = re.findall(r"^## (?!Unreleased$)(.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    versions = re.findall(r"^(\d+\.\d+\.\d+), \d{4}-\d\d-\d\d$", "\n".join(headings), re.MULTILINE)
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert versions[0] == package["version"]
    assert len(versions) == len(headings)
