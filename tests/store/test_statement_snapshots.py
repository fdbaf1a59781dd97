"""Every composed statement is committed in snapshots/, so that reviewers can read the SQL.

After a change, UPDATE_SNAPSHOTS=1 makes this test write the files.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from service.database import statements
from service.database.statements import Statement, compose, fragments
from tests.store.composed import all_composed

FOLDER = Path(__file__).parent / "snapshots"
SERVICE = Path(statements.__file__).parents[1]


def snapshot(statement: Statement) -> str:
    parameters = "".join(f"-- ${number} {name}\n" for number, name in enumerate(statement.names, 1))
    return f"{parameters}\n{statement.text};\n"


def committed() -> dict[str, str]:
    return {file.stem: file.read_text(encoding="utf-8") for file in FOLDER.glob("*.sql")}


def write(snapshots: Mapping[str, str]) -> None:
    for file in FOLDER.glob("*.sql"):
        file.unlink()
    for name, text in snapshots.items():
        (FOLDER / f"{name}.sql").write_text(text, encoding="utf-8")


def test_every_composed_statement_equals_its_snapshot() -> None:
    snapshots = {name: snapshot(statement) for name, statement in all_composed().items()}
    if os.environ.get("UPDATE_SNAPSHOTS"):
        write(snapshots)
    differing = {name for name, _ in snapshots.items() ^ committed().items()}
    assert not differing, "run this test with UPDATE_SNAPSHOTS=1 and review the changed files"


def test_every_fragment_occurs_in_a_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    used: set[tuple[str, str]] = set()
    find_fragment = statements._find_fragment

    def record(name: str, subject: str = "") -> tuple[str, str]:
        owner, text = find_fragment(name, subject)
        used.add((owner, name))
        return owner, text

    monkeypatch.setattr(statements, "_find_fragment", record)
    compose.cache_clear()
    all_composed()
    assert used == {(subject, name) for subject, texts in fragments().items() for name in texts}


def test_every_name_is_unique_in_its_file() -> None:
    for file in SERVICE.glob("**/*.sql"):
        names = re.findall(r"^-- name: (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert sorted(names) == sorted(set(names)), file


def test_a_fragment_of_the_same_subject_has_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"runs": {"columns": "run_id"}, "cases": {"columns": "case_id", "one_case": "SELECT {columns} = :value"}}
    monkeypatch.setattr(statements, "fragments", lambda: texts)
    compose.cache_clear()
    assert compose("one_case").text == "SELECT case_id = $1"
    with pytest.raises(LookupError, match="the fragment columns is in 2 subjects"):
        compose("columns")
    with pytest.raises(LookupError, match="the fragment unknown is in 0 subjects"):
        compose("unknown")


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    """Compose again after a test that replaced the fragments."""
    yield
    compose.cache_clear()
