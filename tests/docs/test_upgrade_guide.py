"""Tests of the upgrade guide: its table of migrations, and its statement that adds missing projects."""

import re
from pathlib import Path

from service.database import migrations
from tests.run_events import run_event
from tests.served import serve

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "upgrade.md"


def test_table_of_migrations_lists_each_one_once() -> None:
    numbers: list[int] = []
    for cell in re.findall(r"^\| (\d{4}[^|]*) \|", GUIDE.read_text(), re.MULTILINE):
        for first, last in re.findall(r"(\d{4})(?: to (\d{4}))?", cell):
            numbers += range(int(first), int(last or first) + 1)
    assert sorted(numbers) == [migration.version for migration in migrations.all_migrations()][1:]


async def test_statement_of_the_guide_adds_missing_projects(database_url: str) -> None:
    [statement] = re.findall(r'"(INSERT INTO projects .*)"', GUIDE.read_text())
    async with serve(database_url) as api:
        await api.store.ingest(run_event("run_1"), run_event("run_2", project_id="blog"), run_event("run_3"))
        await api.store.pool.execute("DELETE FROM projects WHERE project_id = 'blog'")
        await api.store.pool.execute(statement)  # as the role results_worker
        listed = (await api.get("/v1/projects"))["data"]
    assert [project["project_id"] for project in listed] == ["blog", "shop"]
