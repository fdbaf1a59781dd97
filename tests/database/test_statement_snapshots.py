"""The composed statements are committed in snapshots/, so that reviewers can read the SQL.

There is one for each way to find results, and for other statements only if no other snapshot contains all of their
fragments. After a change, UPDATE_SNAPSHOTS=1 makes this test write the files.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from service.database import statements
from service.database.statements import Statement, compose, fragments, subjects
from tests.database.composed import all_composed, names_of_list, result_filters

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


class Composed(NamedTuple):
    """The names of the texts that composed statements start with, and of the fragments that statements include."""

    frames: set[str]
    fragments: dict[str, frozenset[str]]  # of each composed statement
    in_statements: set[str]  # fragments of statements with stated parameters


@pytest.fixture
def composed(monkeypatch: pytest.MonkeyPatch) -> Composed:
    """What all statements consist of."""
    frames: set[str] = set()
    found: set[str] = set()
    by_text: dict[str, frozenset[str]] = {}
    find_fragment, number = statements._find_fragment, statements._number

    def record(name: str, subject: str = "") -> tuple[str, str]:
        if subject:
            found.add(name)
        else:
            frames.add(name)
            found.clear()
        return find_fragment(name, subject)

    def record_text(text: str, names: Sequence[str]) -> str:
        numbered = number(text, names)
        by_text[numbered] = frozenset(found)
        return numbered

    monkeypatch.setattr(statements, "_find_fragment", record)
    monkeypatch.setattr(statements, "_number", record_text)
    compose.cache_clear()
    included = {name: by_text[statement.text] for name, statement in all_composed().items()}
    found.clear()
    for subject in subjects():
        statements.statements.__wrapped__(subject)
    return Composed(frames, included, found)


def with_snapshot(included: Mapping[str, frozenset[str]]) -> set[str]:
    """The first statement of each set of fragments that is part of no other one, and each way to find results."""
    sets = {*included.values()}
    largest = {own for own in sets if not any(own < other for other in sets)}
    ways = {name for filter_ in result_filters() for name in names_of_list(filter_)}
    return ways | {min(name for name in included if included[name] == own) for own in largest}


def test_every_way_to_find_rows_equals_its_snapshot(composed: Composed) -> None:
    by_name = all_composed()
    snapshots = {name: snapshot(by_name[name]) for name in with_snapshot(composed.fragments)}
    if os.environ.get("UPDATE_SNAPSHOTS"):
        write(snapshots)
    differing = {name for name, _ in snapshots.items() ^ committed().items()}
    assert not differing, "run this test with UPDATE_SNAPSHOTS=1 and review the changed files"


def test_every_fragment_occurs_in_a_snapshot_or_a_statement(composed: Composed) -> None:
    shown = {fragment for name in with_snapshot(composed.fragments) for fragment in composed.fragments[name]}
    names = {name for texts in fragments().values() for name in texts}
    assert names == composed.frames | shown | composed.in_statements


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
