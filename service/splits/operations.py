"""Splits for a caller: the plan of the first request, and the same plan for each later one."""

import asyncio
from collections.abc import Mapping, Sequence
from hashlib import sha256

import orjson

from service.database.database import Connection, Pool, as_organization
from service.domain.errors import Conflict, InvalidRequest, NotFound
from service.identity.keys.model import Caller
from service.identity.publishers.job_claims import apply_claims, check_run_id_of_job
from service.runs.operations import check_run_of_job
from service.splits import store
from service.splits.contract import AssignmentIn, Split, SplitIn, SplitQuery
from service.splits.model import MAX_SPLIT_KEY, MAX_SPLITS, describe_difference, name_in_results, plan_parts
from service.splits.store import SplitRef


async def find_split(pool: Pool, caller: Caller, key: str, query: SplitQuery) -> Split:
    """Return the newest split with a key. Raises NotFound."""
    ref = SplitRef(caller.org_id, query.project_id, _check_key(key), query.pipeline, query.run_id)
    async with as_organization(pool, caller.org_id) as connection:
        row = await store.find(connection, ref) if caller.project_id in (None, ref.project_id) else None
    if row is None:
        raise NotFound(f"split {key!r} not found")
    return await asyncio.to_thread(store.read_split, row)


def split_ref(caller: Caller, key: str, requested: SplitIn) -> SplitRef:
    """Return what identifies a requested split.

    Raises InvalidRequest for the key, and Forbidden for a project, pipeline, or run that the caller can't change.
    """
    caller.choose_project(requested.project_id)
    return SplitRef(caller.org_id, requested.project_id, _check_key(key), *choose_jobs(caller, requested))


def choose_jobs(caller: Caller, stated: SplitIn | AssignmentIn) -> tuple[str, str]:
    """Return the pipeline and the run of the jobs of a split, or empty texts.

    The token of a CI job states its pipeline. Raises Forbidden for another pipeline or run of a CI job.
    """
    pipeline, run_id = stated.pipeline, stated.run_id or ""
    if caller.job is not None:
        pipeline = apply_claims(caller.job, {"pipeline": pipeline})["pipeline"]
        check_run_id_of_job(caller.job, run_id)
    return pipeline or "", run_id


def _check_key(key: str) -> str:
    if not key.isprintable() or len(key) > MAX_SPLIT_KEY:
        raise InvalidRequest(f"key: must have 1 to {MAX_SPLIT_KEY} printable characters", "key")
    return key


async def put_split(connection: Connection, caller: Caller, ref: SplitRef, requested: SplitIn) -> tuple[Split, bool]:
    """Store the plan of a split, unless it exists, and return it, and whether it is new. Requires a transaction.

    Raises Conflict if the stored plan has another unit, total, variant, or other items, and if the pipeline or run has
    the maximum number of splits. Concurrent first requests wait for the one that plans, which can take a second.
    """
    await check_run_of_job(connection, caller, ref.run_id or "")
    digest = await asyncio.to_thread(_digest, requested)
    row = stored = await store.find(connection, ref)
    if row is None:
        await store.lock(connection, ref)
        row = stored = await store.find(connection, ref)
    if row is None:
        names = [name_in_results(item, requested.unit, requested.path_prefix) for item in requested.items]
        durations_ms = await store.find_durations(connection, ref, requested, names)
        plan = await asyncio.to_thread(_write_plan, requested, durations_ms)
        await store.insert(connection, ref, plan, digest, caller.actor_id)
        row = await store.find(connection, ref)
    if row is None:
        raise Conflict(f"key: the pipeline or run has {MAX_SPLITS} splits, the maximum; use the key of one of them")
    split = await asyncio.to_thread(store.read_split, row)
    if row["digest"] != digest:
        raise Conflict(await asyncio.to_thread(_describe_conflict, split, requested))
    return split, stored is None


def _write_plan(requested: SplitIn, durations_ms: Mapping[str, int]) -> bytes:
    parts, predicted_ms, unknown_items, gain_ms = plan_parts(requested.items, durations_ms, requested.total)
    times: Sequence[int | None] = predicted_ms or [None] * requested.total
    numbered = enumerate(zip(parts, times, strict=True), 1)
    planned = [{"index": number, "items": items, "predicted_ms": time} for number, (items, time) in numbered]
    stated = requested.model_dump(include={"unit", "total", "variant", "path_prefix"})
    return store.write_document({**stated, "parts": planned, "unknown_items": unknown_items, "gain_ms": gain_ms})


def _digest(requested: SplitIn) -> bytes:
    """Return a digest of what a later request must repeat."""
    stated = requested.unit, requested.total, sorted(requested.variant.items()), sorted(requested.items)
    return sha256(orjson.dumps(stated)).digest()


def _describe_conflict(split: Split, requested: SplitIn) -> str:
    """Return the first field of the request that has another value in the plan."""
    fields: Mapping[str, object] = {**split}
    for name in ("total", "unit", "variant"):
        if fields[name] != (stated := getattr(requested, name)):
            return f"{name}: the plan of this key has {fields[name]!r}, and the request {stated!r}; use another key"
    planned = [item for part in split["parts"] for item in part["items"]]
    return f"items: {describe_difference(planned, requested.items)}; use another key for other items"
