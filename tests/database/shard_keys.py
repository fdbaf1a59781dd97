"""Finds references to distributed tables that aren't limited to the organization of one parameter.

Citus sends a statement to one shard only if the `org_id` of each distributed table equals a parameter or a constant. A
column, also of an outer query, of a function, or of another table, can have several values.
"""

from collections.abc import Collection, Iterator
from typing import Any

from pglast import ast, parse_sql
from pglast.enums import A_Expr_Kind, BoolExprType

_MODIFIED = ("relation",)  # the fields of UPDATE and DELETE that contain the modified table
_SOURCES = ("fromClause", "usingClause")


def tables_of_any_shard(sql: str, distributed: Collection[str]) -> set[str]:
    """Return the distributed tables that a statement reads or writes without the organization of one parameter."""
    found: set[str] = set()
    for statement in parse_sql(sql):
        for node in _nodes(statement.stmt):
            found |= _tables_of_any_shard(node, distributed)
    return found


def _nodes(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        for item in value:
            yield from _nodes(item)
    elif isinstance(value, ast.Node):
        yield value
        for name in value:
            yield from _nodes(getattr(value, name))


def _tables_of_any_shard(node: Any, distributed: Collection[str]) -> set[str]:
    if isinstance(node, ast.InsertStmt):
        return {node.relation.relname} & set(distributed) if not _inserts_one_organization(node, distributed) else set()
    if not isinstance(node, ast.SelectStmt | ast.UpdateStmt | ast.DeleteStmt):
        return set()
    relations = [getattr(node, name, None) for name in _MODIFIED]
    relations += [relation for name in _SOURCES for relation in getattr(node, name, None) or ()]
    tables: dict[str, str] = {}
    conditions = _conjuncts(node.whereClause)
    for relation in filter(None, relations):
        conditions += _add(tables, relation, distributed)
    limited = {alias for condition in conditions for alias in _limited_alias(condition, tables)}
    return {table for alias, table in tables.items() if alias not in limited}


def _add(tables: dict[str, str], relation: Any, distributed: Collection[str]) -> list[Any]:
    """Add the distributed tables of a relation by alias, and return the conditions of its joins."""
    if isinstance(relation, ast.JoinExpr):
        left, right = relation.larg, relation.rarg  # codespell:ignore larg - fields of pglast
        return [
            *_add(tables, left, distributed),
            *_add(tables, right, distributed),
            *_conjuncts(relation.quals),
        ]
    if isinstance(relation, ast.RangeVar) and relation.relname in distributed:
        tables[relation.alias.aliasname if relation.alias else relation.relname] = relation.relname
    return []


def _conjuncts(condition: Any) -> list[Any]:
    if isinstance(condition, ast.BoolExpr) and condition.boolop == BoolExprType.AND_EXPR:
        return [conjunct for argument in condition.args for conjunct in _conjuncts(argument)]
    return [] if condition is None else [condition]


def _limited_alias(condition: Any, tables: dict[str, str]) -> set[str]:
    """Return the alias whose `org_id` equals one value, if the condition states this."""
    if not isinstance(condition, ast.A_Expr) or condition.kind != A_Expr_Kind.AEXPR_OP or condition.name[0].sval != "=":
        return set()
    left, right = condition.lexpr, condition.rexpr
    column = left if _is_one_value(right) else right if _is_one_value(left) else None
    if not isinstance(column, ast.ColumnRef):
        return set()
    *qualifier, name = [getattr(part, "sval", "*") for part in column.fields]
    if name != "org_id":
        return set()
    return {qualifier[0]} if qualifier else set(tables) if len(tables) == 1 else set()


def _is_one_value(expression: Any) -> bool:
    if isinstance(expression, ast.TypeCast):
        return _is_one_value(expression.arg)
    return isinstance(expression, ast.ParamRef | ast.A_Const)


def _inserts_one_organization(statement: Any, distributed: Collection[str]) -> bool:
    """Return whether the value of `org_id` is one parameter in each row.

    Rows that are selected from a distributed table must have its column, whose value the condition of the query limits.
    With a parameter instead, the coordinator fetches the rows and copies them to the worker, which row-level security
    doesn't permit.
    """
    names = [column.name for column in statement.cols or ()]
    if "org_id" not in names:
        return False
    index = names.index("org_id")
    query = statement.selectStmt
    if {each.relname for each in query.fromClause or () if isinstance(each, ast.RangeVar)} & set(distributed):
        column = query.targetList[index].val
        return isinstance(column, ast.ColumnRef) and column.fields[-1].sval == "org_id"
    rows = query.valuesLists or [[target.val for target in query.targetList or ()]]
    return all(len(row) > index and _is_one_value(row[index]) for row in rows)


def reads_both(sql: str, distributed: Collection[str]) -> bool:
    """Return whether a statement reads both distributed tables and tables of the coordinator.

    Citus doesn't send such a statement to one worker: it executes each subquery and copies its rows between servers.
    """
    nodes = [node for statement in parse_sql(sql) for node in _nodes(statement.stmt)]
    tables = [node for node in nodes if isinstance(node, ast.RangeVar)]
    names = {table.relname for table in tables}
    names -= {node.ctename for node in nodes if isinstance(node, ast.CommonTableExpr)}
    names -= {table.alias.aliasname for table in tables if table.alias}  # which FOR UPDATE OF names
    return not names.isdisjoint(distributed) and not names <= set(distributed)
