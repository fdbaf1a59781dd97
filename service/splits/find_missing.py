"""The splits of a run: the plans, the assignments of accepted uploads, and the items that no job executed."""

from asyncio import to_thread
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from service.database.database import Connection
from service.domain.ids import OrgId, RunKey
from service.domain.variants import canonical_variant
from service.splits import queries
from service.splits.contract import ExecutedPart, SplitOfRun
from service.splits.model import (
    MAX_ASSIGNMENTS,
    MAX_SPLITS,
    Assignment,
    find_missing_items,
    name_in_results,
    select_by_name,
)
from service.splits.store import read_document

_Documents = Sequence[Mapping[str, Any]]  # of assignments, with their `receipt`


async def find_splits(
    connection: Connection, org_id: OrgId, project_id: str, run: tuple[RunKey, str], baseline: RunKey | None
) -> list[SplitOfRun] | None:
    """Return the splits of a run, which is given by its key and ID, in the order of their keys.

    None means that the run has too many splits or assignments. All statements must read one snapshot.
    """
    stored = await queries.find_of_run(connection, org_id, project_id, run)
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for each in stored:
        fields = await to_thread(read_document, each.document)
        identity = each.key, each.pipeline, each.run_id, fields["unit"], canonical_variant(fields["variant"])
        groups[identity].append({**fields, "receipt": each.receipt_id})
    if len(groups) > MAX_SPLITS or sum(bool(each.receipt_id) for each in stored) > MAX_ASSIGNMENTS:
        return None
    run_keys = await queries.find_runs(connection, org_id, project_id, run[0]) if stored else ()
    runs = run_keys, [baseline] if baseline else []
    return [await _find_split(connection, org_id, runs, *group) for group in sorted(groups.items())]


async def _find_split(
    connection: Connection, org_id: OrgId, runs: tuple[Sequence[RunKey], Sequence[RunKey]], identity: tuple[str, ...],
    found: _Documents,
) -> SplitOfRun:  # fmt: skip
    plan = next((each for each in found if "parts" in each), None)
    documents, head, key = [each for each in found if each["receipt"]], plan or found[0], identity[0]
    unit, variant, total = head["unit"], head["variant"], head["total"]
    planned = {item: part["index"] for part in plan["parts"] for item in part["items"]} if plan else {}
    stated = [
        Assignment(key, unit, total, it["index"], it["items"], it["all_items"], it["expects_results"])
        for it in documents
    ]
    items = planned.keys() | {item for each in stated for item in (*each.items, *(each.all_items or ()))}
    names = {item: name_in_results(item, unit, head["path_prefix"]) for item in items}
    executed = await queries.find_executed(connection, org_id, runs[0], unit, variant, list(names.values()))
    others = list(set(names.values()) - executed.keys())
    past = await queries.find_executed(connection, org_id, runs[1], unit, variant, others)
    missing = await to_thread(find_missing_items, key, planned, stated, names, past, executed)
    durations_ms = {item: executed.get(name) for item, name in names.items()}
    return {
        "key": key,
        "unit": unit,
        "total": total,
        "variant": variant,
        "path_prefix": head["path_prefix"],
        "by_name": any(each.all_items is not None for each in stated),
        "parts": [
            _describe_part(part, durations_ms, documents)
            for part in (plan["parts"] if plan else _list_parts(total, documents))
        ],
        "missing_items": [{"key": key, "item": it.item, "index": it.number, "reason": it.reason} for it in missing],
    }


def _list_parts(total: int, documents: _Documents) -> list[dict[str, Any]]:
    """Return the parts without a plan: what their jobs state, or else the items that they should execute."""
    stated: dict[int, set[str]] = defaultdict(set)
    for each in documents:
        stated[each["index"]].update(each["items"])
    others = {item for each in documents for item in each["all_items"] or ()}.difference(*stated.values())
    return [
        {"index": number, "items": stated.get(number) or select_by_name(others, total, number), "predicted_ms": None}
        for number in range(1, total + 1)
    ]


def _describe_part(
    part: Mapping[str, Any], durations_ms: Mapping[str, int | None], documents: _Documents
) -> ExecutedPart:
    known = [duration_ms for item in part["items"] if (duration_ms := durations_ms.get(item)) is not None]
    return {
        "index": part["index"],
        "items": len(part["items"]),
        "predicted_ms": part["predicted_ms"],
        "duration_ms": sum(known) if known else None,
        "receipts": [each["receipt"] for each in documents if each["index"] == part["index"]],
    }
