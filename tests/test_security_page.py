"""Tests that docs/security.md names only existing tests, and that README and SECURITY.md link to it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text()
ROWS = [
    line for line in PAGE.partition("\n## Threats\n")[2].partition("\n## ")[0].splitlines() if line.startswith("| ")
]


def test_each_threat_has_a_test_that_exists() -> None:
    assert len(ROWS) > 20
    for row in ROWS[1:]:
        named = re.findall(r"`(tests/\S+\.py)::(\w+)`", row)
        assert named, row
        for file, name in named:
            assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE), name


@pytest.mark.parametrize("file", ["README.md", "SECURITY.md"])
def test_page_is_linked(file: str) -> None:
    assert "(docs/security.md)" in (ROOT / file).read_text()
