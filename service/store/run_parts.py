"""The parts of runs, each with the attempts of its job that have sent an upload or event that was accepted."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from service.domain.ids import OrgId, RunKey
from service.domain.parts import RunPart
from service.domain.variants import canonical_variant
from service.store.postgres.database import Connection, Row
from service.store.postgres.requested_rows import fetch_requested
from service.store.postgres.statements import statements

_SQL: Final = statements("run_parts")
_NO_VARIANT: Final = "{}"


async def find_assigned(
    connection: Connection, runs: Iterable[tuple[OrgId, RunKey]]
) -> Mapping[RunKey, dict[int, RunPart]]:
    """Return the parts of these runs that have an assigned number."""
    found: dict[RunKey, dict[int, RunPart]] = {}
    for row in await fetch_requested(connection, "assigned_parts", runs, ["run_keys"]):
        found.setdefault(RunKey(row["run_key"]), {})[row["number"]] = _part(row)
    return found


class NewPart(NamedTuple):
    """An attempt of a part that was accepted."""

    org_id: OrgId
    run_key: RunKey
    number: int
    part: RunPart
    has_results: bool


async def write(connection: Connection, parts: Iterable[NewPart]) -> None:
    """Insert the parts that aren't stored yet. The transaction must have locked the runs or inserted them."""
    merged: dict[tuple[OrgId, RunKey, int], NewPart] = {}
    for part in parts:
        known = merged.setdefault(part[:3], part)
        merged[part[:3]] = part._replace(has_results=part.has_results or known.has_results)
    if merged:
        rows = [_columns(merged[key]) for key in sorted(merged)]
        await connection.execute(_SQL["write"], *map(list, zip(*rows, strict=True)))


def _columns(new: NewPart) -> tuple[Any, ...]:
    name, variant, shard, attempt = new.part
    return *new[:3], name, variant or _NO_VARIANT, shard, attempt, new.has_results


def _part(row: Row) -> RunPart:
    return RunPart(row["name"], canonical_variant(row["variant"]), row["shard"], row["attempt"])
