"""The upgrade guide states what each migration since the last release blocks."""

import re
from pathlib import Path

from service.store.postgres import migrations

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "upgrade.md"


def test_table_of_migrations_lists_each_one_once() -> None:
    numbers: list[int] = []
    for cell in re.findall(r"^\| (\d{4}[^|]*) \|", GUIDE.read_text(), re.MULTILINE):
        for first, last in re.findall(r"(\d{4})(?: to (\d{4}))?", cell):
            numbers += range(int(first), int(last or first) + 1)
    assert sorted(numbers) == [migration.version for migration in migrations.all_migrations()][1:]
