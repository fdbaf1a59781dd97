"""Every composed statement is committed in snapshots/, so that reviewers can read the SQL.

After a change, UPDATE_SNAPSHOTS=1 makes this test write the files.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from service.database import composition
from service.database.composition import Statement, compose
from service.database.statements import fragments
from tests.store.composed import all_composed

FOLDER = Path(__file__).parent / "snapshots"


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
    used: set[str] = set()

    class Recording(dict[str, str]):
        def __getitem__(self, name: str) -> str:
            used.add(name)
            return super().__getitem__(name)

    monkeypatch.setattr(composition, "fragments", lambda: Recording(fragments()))
    compose.cache_clear()
    all_composed()
    assert used == fragments().keys()


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    """Compose again after a test that replaced the fragments."""
    yield
    compose.cache_clear()
