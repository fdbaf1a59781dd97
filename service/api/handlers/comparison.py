"""Handler for the comparison of a run."""

from typing import Any, Final, NamedTuple

import orjson
from aiohttp import web

from service.api.handlers.runs import run_selector
from service.api.http.authentication import get_caller
from service.api.http.parsing import parse_query
from service.api.http.responses import reply_list
from service.api.server.resources import RESOURCES
from service.contracts.comparison import ComparisonQuery
from service.contracts.events import rfc3339
from service.domain.comparison import LIST_START, ComparedResult, ListPosition
from service.domain.cursors import CursorCodec, Cursors, pack_bigint, unpack_bigint
from service.domain.errors import InvalidRequest
from service.domain.ids import CaseKey
from service.domain.statuses import STATUS_NAMES
from service.store.postgres.database import as_organization
from service.store.postgres.transactions import reading_snapshot
from service.usecases.gates import compare_runs
from service.usecases.gates.compare_runs import ChangePage, Comparison, ListedChanges

_DIGEST_BYTES: Final = 8


class _ComparisonCursor(NamedTuple):
    """A position in the list, and the digest of the runs and quarantines that the list depends on."""

    position: ListPosition
    digest: bytes


def _unpack(data: bytes) -> _ComparisonCursor:
    if len(data) <= 1 + _DIGEST_BYTES:
        raise ValueError(data)
    position = ListPosition(data[0], CaseKey(unpack_bigint(data[1:-_DIGEST_BYTES])))
    return _ComparisonCursor(position, data[-_DIGEST_BYTES:])


_CODEC: Final = CursorCodec[_ComparisonCursor](
    lambda cursor: bytes([cursor.position.order]) + pack_bigint(cursor.position.case_key) + cursor.digest, _unpack
)


async def compare_run(request: web.Request) -> web.Response:
    """Compare a run with its baseline, and return a page of the changes."""
    query = parse_query(request, ComparisonQuery)
    caller, selector = get_caller(request), run_selector(request)
    filters = {"run_id": selector.run_id, "baseline": query.baseline, "changes": query.changes}
    cursors = Cursors(_CODEC, "comparison", caller.org_id, filters)
    after = cursors.read(query.starting_after)
    async with (
        as_organization(request.app[RESOURCES].pool, caller.org_id) as connection,
        reading_snapshot(connection),
    ):
        comparison = await compare_runs.compare_run(connection, caller.org_id, selector, query.choice)
        digest = comparison.digest()[:_DIGEST_BYTES]
        if after is not None and after.digest != digest:
            raise InvalidRequest("starting_after: the comparison has changed, start again", "starting_after")
        listed = ListedChanges(query.changes, after.position if after else LIST_START, query.limit)
        page = await compare_runs.list_changes(connection, caller.org_id, comparison, listed)
    last = _ComparisonCursor(page.results[-1].position, digest) if page.has_more else None
    data = [_item(item, result) for item, result in zip(page.items, page.results, strict=True)]
    return reply_list(data, cursors.write(last), **_summary(comparison, page))


def _summary(comparison: Comparison, page: ChangePage) -> dict[str, Any]:
    run, baseline = comparison.run, comparison.baseline
    return {
        "run_id": run.run_id,
        "revision": run.revision,
        "baseline": baseline and {
            "run_id": baseline.run_id,
            "branch": baseline.branch,
            "commit_sha": baseline.commit_sha,
            "completed_at": rfc3339(baseline.completed_at),
            "revision": baseline.revision,
        },
        "counts": {**comparison.failing_counts, **page.other_counts},
        "truncated": comparison.truncated,
    }  # fmt: skip


def _item(item: str, result: ComparedResult) -> dict[str, Any]:
    return {
        **orjson.loads(item),
        "change": result.change,
        "baseline_status": result.baseline_status and STATUS_NAMES[result.baseline_status],
        "quarantine_id": result.quarantine_id,
        "evidence": result.evidence and result.evidence._asdict(),
    }
