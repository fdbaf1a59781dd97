"""Tests that docs/security.md names only existing tests, and that README and SECURITY.md link to it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
HEADERS = ("| Threat |", "| Attack |")


def rows(section: str) -> list[str]:
    """Return the rows of the tables of a section."""
    lines = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0].splitlines()
    return [line for line in lines if line.startswith("| ") and not line.startswith(HEADERS)]


@pytest.mark.parametrize("section", ["Threats", "Attacks on identity"])
def test_each_threat_has_a_test_that_exists(section: str) -> None:
    assert len(rows(section)) > 20
    for row in rows(section):
        named = re.findall(r"`(tests/\S+\.py)::(\w+)`", row)
        assert named, row
        for file, name in named:
            assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE), name


@pytest.mark.parametrize("file", ["README.md", "SECURITY.md"])
def test_page_is_linked(file: str) -> None:
    assert "(docs/security.md)" in (ROOT / file).read_text()
