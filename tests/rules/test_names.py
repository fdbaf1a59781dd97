"""Tests that a class or type alias name has one definition in the code base."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
TYPE_NAME = re.compile(r"_?[A-Z][A-Za-z0-9]*")
CONSTANT_NAME = re.compile(r"_?[A-Z0-9]+")  # includes type variables with one letter, which are local to a module


def defined_types(module: ast.Module) -> Iterator[str]:
    """Yield the names of all classes and of the type aliases at the top level."""
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef):
            yield node.name
    for statement in module.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name) and is_type(target.id))


def is_type(name: str) -> bool:
    return bool(TYPE_NAME.fullmatch(name)) and not CONSTANT_NAME.fullmatch(name)


def test_names_of_classes_and_type_aliases_are_unique() -> None:
    definitions = defaultdict(list)
    for file in sorted(path for package in ("service", "consumers") for path in (ROOT / package).rglob("*.py")):
        for name in defined_types(ast.parse(file.read_text())):
            definitions[name].append(str(file.relative_to(ROOT)))
    assert {name: files for name, files in definitions.items() if len(files) > 1} == {}
