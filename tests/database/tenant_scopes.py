"""Finds table references in SQL that aren't limited to one organization.

A reference to a tenant table is limited if its `org_id` must equal something outside the tenant tables of the same FROM
clause: a parameter, a column of an outer query, or a column of a function, CTE, or subquery. An equality with the
`org_id` of another tenant table only connects both tables. An OR must not be able to bypass the condition.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from pglast import ast, parse_sql
from pglast.enums import A_Expr_Kind, BoolExprType

EQUALITIES = (A_Expr_Kind.AEXPR_OP, A_Expr_Kind.AEXPR_OP_ANY, A_Expr_Kind.AEXPR_IN)


@dataclass
class Scope:
    """The relations of one FROM clause by alias, and the conditions that apply to each of its rows."""

    tables: dict[str, str] = field(default_factory=dict)  # tenant tables
    others: set[str] = field(default_factory=set)
    conditions: list[Any] = field(default_factory=list)
    joined: list[set[str]] = field(default_factory=list)  # aliases that USING (org_id) connects


def unlimited_tables(sql: str, tenant_tables: Collection[str]) -> set[str]:
    """Return the tenant tables that a statement reads or writes without a limit to one organization."""
    found: set[str] = set()
    for node in _nodes(tuple(statement.stmt for statement in parse_sql(sql))):
        found |= _unlimited(node, tenant_tables)
    return found


def _nodes(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        for item in value:
            yield from _nodes(item)
    elif isinstance(value, ast.Node):
        yield value
        for name in value:
            yield from _nodes(getattr(value, name))


def _unlimited(node: Any, tenant_tables: Collection[str]) -> set[str]:
    if isinstance(node, ast.InsertStmt):
        table = node.relation.relname
        inserts_all_columns = node.cols is None and node.selectStmt is not None
        limited = inserts_all_columns or any(column.name == "org_id" for column in node.cols or ())
        return {table} if table in tenant_tables and not limited else set()
    scope = Scope()
    if isinstance(node, ast.SelectStmt):
        relations = node.fromClause or ()
    elif isinstance(node, ast.UpdateStmt):
        relations = (node.relation, *(node.fromClause or ()))
    elif isinstance(node, ast.DeleteStmt):
        relations = (node.relation, *(node.usingClause or ()))
    else:
        return set()
    for relation in relations:
        _add(scope, relation, tenant_tables)
    scope.conditions += _conjuncts(node.whereClause)
    return _without_limit(scope)


def _add(scope: Scope, relation: Any, tenant_tables: Collection[str]) -> set[str]:
    """Add a relation to a scope and return its aliases."""
    if isinstance(relation, ast.JoinExpr):
        left, right = relation.larg, relation.rarg  # codespell:ignore larg - fields of pglast
        aliases = _add(scope, left, tenant_tables) | _add(scope, right, tenant_tables)
        scope.conditions += _conjuncts(relation.quals)
        if any(name.sval == "org_id" for name in relation.usingClause or ()):
            scope.joined.append(aliases)
        return aliases
    name = relation.relname if isinstance(relation, ast.RangeVar) else ""
    alias: str = relation.alias.aliasname if relation.alias else name
    if name in tenant_tables:
        scope.tables[alias] = name
    else:
        scope.others.add(alias)
    return {alias}


def _conjuncts(condition: Any) -> list[Any]:
    if isinstance(condition, ast.BoolExpr) and condition.boolop == BoolExprType.AND_EXPR:
        return [conjunct for argument in condition.args for conjunct in _conjuncts(argument)]
    return [] if condition is None else [condition]


def _without_limit(scope: Scope) -> set[str]:
    links = [
        *scope.joined,
        *(_equal_organizations(scope, condition) for condition in scope.conditions),
    ]
    limited: set[str] = set()
    for _ in scope.tables:
        for aliases in links:
            if not aliases <= scope.tables.keys() or aliases & limited:
                limited |= aliases
    return {table for alias, table in scope.tables.items() if alias not in limited}


def _equal_organizations(scope: Scope, condition: Any) -> set[str]:
    """Return the aliases whose `org_id` a condition compares, with "" for anything that isn't a tenant table here."""
    if isinstance(condition, ast.SubLink) and all(name.sval == "=" for name in condition.operName or ()):
        left, right = condition.testexpr, None
    elif isinstance(condition, ast.A_Expr) and condition.kind in EQUALITIES and condition.name[0].sval == "=":
        left, right = condition.lexpr, condition.rexpr
    else:
        return set()
    left_columns = left.args if isinstance(left, ast.RowExpr) else (left,)
    right_columns = (
        right.args
        if isinstance(right, ast.RowExpr) and len(right.args) == len(left_columns)
        else (right,) * len(left_columns)
    )
    for left_column, right_column in zip(left_columns, right_columns, strict=True):
        aliases = {_organization_of(scope, left_column), _organization_of(scope, right_column)}
        if aliases != {""}:
            return aliases
    return set()


def _organization_of(scope: Scope, expression: Any) -> str:
    """Return the alias of the tenant table if the expression is its `org_id`, or ""."""
    if not isinstance(expression, ast.ColumnRef):
        return ""
    *qualifier, column = [getattr(part, "sval", "*") for part in expression.fields]
    if column != "org_id":
        return ""
    if qualifier:
        return qualifier[0] if qualifier[0] in scope.tables else ""
    unambiguous = len(scope.tables) == 1 or any(scope.tables.keys() <= aliases for aliases in scope.joined)
    return next(iter(scope.tables)) if unambiguous else ""
