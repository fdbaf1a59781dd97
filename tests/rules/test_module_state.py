"""Tests that no module has mutable state: the cache of a process belongs to an object with a limit in bytes."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
EMPTY: Final = frozenset({"list", "dict", "set", "bytearray"})  # if they are called without a value
MUTABLE: Final = frozenset(
    {"defaultdict", "deque", "OrderedDict", "WeakValueDictionary"}
    | {"BoundedCache", "LRUCache", "TTLCache", "TLRUCache"}
)
CACHES: Final = frozenset({"cache", "lru_cache"})
# What may stay, with the reason.
ALLOWED: Final = {
    "service/client/runner/pytest_zof_results.py: _sessions": "of a process of pytest, mostly one",
    "service/api/metrics.py: _request_seconds": "one entry per route and status",
    "service/http/parsing.py: _repeatable_fields": "one entry per model of a query",
    "service/api/openapi/components.py: _json_schema": "a constant",
    "service/api/openapi/document.py: document": "a constant",
    "service/console/rendering.py: read_static_files": "a constant",
    "service/dev/postgres.py: DURABLE": "a constant",
    "service/domain/addresses.py: _blocks": "one entry per version of IP",
    "service/domain/timestamps.py: _format_day": "at most 4,096 days, of which pages repeat a few",
    "service/database/statements.py: compose": "composed of fragments of this code base, at most 1,000",
    "service/database/statements.py: fragments": "a constant",
    "service/database/statements.py: statements": "a constant",
    "service/version.py: find_commit": "a constant",
    "service/version.py: find_version": "a constant",
    "service/tracing/spans.py: _tracer": "the provider of tracers is global in OpenTelemetry as well",
}


Modules = dict[str, ast.Module]  # by the path of the file


@pytest.fixture(scope="module")
def modules() -> Modules:
    files = [file for package in ("service", "consumers") for file in sorted((ROOT / package).rglob("*.py"))]
    return {str(file.relative_to(ROOT)): ast.parse(file.read_text()) for file in files}


def name_of(node: ast.expr | None) -> str:
    """Return the last part of a name, also that of a generic class, or an empty text."""
    if isinstance(node, ast.Subscript):
        return name_of(node.value)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def is_mutable(value: ast.expr | None, stateful: set[str]) -> bool:
    """Return whether an expression creates an empty container, a cache, or an object that has one."""
    if isinstance(value, ast.Call):
        called = value.func.func if isinstance(value.func, ast.Call) else value.func
        return name_of(called) in (MUTABLE | CACHES | stateful if value.args else EMPTY | MUTABLE | stateful)
    empty_list = isinstance(value, ast.List) and not value.elts
    return empty_list or (isinstance(value, ast.Dict) and not value.keys)


def stateful_classes(modules: Modules) -> set[str]:
    """Return the classes whose objects create a container or a cache for themselves."""
    return {
        node.name
        for module in modules.values()
        for node in ast.walk(module)
        if isinstance(node, ast.ClassDef)
        and any(
            isinstance(each, ast.Assign | ast.AnnAssign)
            and is_mutable(each.value, set())
            and any(isinstance(target, ast.Attribute) for target in targets(each))
            for function in node.body
            if isinstance(function, ast.FunctionDef) and function.name == "__init__"
            for each in ast.walk(function)
        )
    }


def targets(assignment: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return assignment.targets if isinstance(assignment, ast.Assign) else [assignment.target]


def state_of(module: ast.Module, stateful: set[str]) -> Iterator[str]:
    """Yield the names of the mutable objects and of the cached functions of a module."""
    for statement in module.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and is_mutable(statement.value, stateful):
            yield from map(name_of, targets(statement))
    for node in ast.walk(module):
        if isinstance(node, ast.Global):
            yield from node.names
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            decorators = [each.func if isinstance(each, ast.Call) else each for each in node.decorator_list]
            if any(name_of(each) in CACHES for each in decorators):
                yield node.name


def test_modules_have_no_mutable_state(modules: Modules) -> None:
    stateful = stateful_classes(modules)
    found = {f"{file}: {name}" for file, module in modules.items() for name in state_of(module, stateful)}
    assert found == ALLOWED.keys()


def test_the_check_finds_mutable_state() -> None:
    module = ast.parse(
        "a: Final[dict[str, int]] = {}\nb = []\nc = LRUCache(3)\nd: Final = lru_cache(9)(f)\ne = Store(1)\n"
        "f: Final = {'a': 1}\n@functools.cache\ndef g(): pass\n@lru_cache(2)\ndef h():\n    global i\n"
        "def j():\n    local = {}\nk = BoundedCache[str, int](1)\nl: Final = ()\n"
    )
    assert set(state_of(module, {"Store"})) == {"a", "b", "c", "d", "e", "g", "h", "i", "k"}
