"""Tests that only `service/stopping.py` cancels a task and then waits for its end, which needs a limit."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALLOWED = ROOT / "service" / "stopping.py"

CANCEL_AND_WAIT = """
async def stop(task):
    {cancellation}
    await asyncio.gather(task, return_exceptions=True)
"""
CANCEL_ONLY = """
def stop(task):
    task.cancel()

async def pause(task):
    await asyncio.wait({task}, timeout=1)
    task.cancel()
    return task
"""


FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


def bare_cancellations(source: str) -> Iterator[int]:
    """Yield the lines of task groups, and of cancellations that a wait in the same function follows."""
    if "cancel" not in source and "TaskGroup" not in source:
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr == "TaskGroup":
            yield node.lineno
        if isinstance(node, FUNCTIONS):
            nodes = list(own_nodes(node))
            waits = [each.lineno for each in nodes if isinstance(each, ast.Await | ast.AsyncFor | ast.AsyncWith)]
            yield from (line for line in cancellations(nodes) if line < max(waits, default=0))


def own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function without those of the functions inside it."""
    for node in ast.iter_child_nodes(function):
        if not isinstance(node, FUNCTIONS):
            yield node
            yield from own_nodes(node)


def cancellations(nodes: list[ast.AST]) -> Iterator[int]:
    """Yield the lines of `x.cancel()`, and of `cancel` as an argument, such as in `map(Task.cancel, tasks)`.

    `cancel` with arguments isn't that of a task.
    """
    with_arguments = {node.func for node in nodes if isinstance(node, ast.Call) and node.args}
    for node in nodes:
        if isinstance(node, ast.Attribute) and node.attr == "cancel" and node not in with_arguments:
            yield node.lineno


@pytest.mark.parametrize("cancellation", ["task.cancel()", "any(map(asyncio.Task.cancel, [task]))"])
def test_rule_finds_a_cancellation_that_a_wait_follows(cancellation: str) -> None:
    assert list(bare_cancellations(CANCEL_AND_WAIT.format(cancellation=cancellation))) == [3]
    assert list(bare_cancellations(CANCEL_ONLY)) == []
    assert list(bare_cancellations("async def f():\n async with asyncio.TaskGroup() as group: pass")) == [2]


def test_code_ends_tasks_with_a_limit() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: end tasks with service.stopping.end_tasks or run_all"
        for folder in ("service", "consumers")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path != ALLOWED
        for line in bare_cancellations(path.read_text())
    ]
    assert not found, "\n".join(found)
