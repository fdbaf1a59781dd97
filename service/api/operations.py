"""What each operation takes and answers, for the OpenAPI document; which address it has stands in routes.py."""

from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel

from service.api.handlers import (
    artifacts,
    cases,
    documentation,
    events,
    exports,
    health,
    keys,
    metrics,
    receipts,
    reports,
    results,
    runs,
)
from service.api.handlers import webhooks as hooks
from service.api.http.authentication import ApiHandler
from service.api.http.uploads import MULTIPART
from service.contracts import queries, webhooks
from service.contracts import reports as uploads
from service.contracts import responses as out
from service.contracts.exports import ExportRequest
from service.contracts.keys import KeyRequest
from service.domain.report_formats import media_types

_BYTES: Final = "application/octet-stream"


@dataclass(frozen=True)
class Operation:
    """`answers` are models by status, or a media type where bytes are answered, or None where nothing is.

    One that answers 304 carries an ETag and takes If-None-Match, one that answers 206 takes Range. `located`: the 202
    says where the work can be watched.
    """

    answers: dict[int, Any]
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    takes: tuple[str, ...] = ()
    errors: tuple[int, ...] = field(default=())
    located: bool = False


def _page(item: Any) -> dict[int, Any]:
    return {200: out.Page[item]}


def _tagged(item: Any) -> dict[int, Any]:
    return {200: item, 304: None}


_FILE: Final = {200: _BYTES, 206: _BYTES, 304: None, 307: None}


OPERATIONS: Final[dict[ApiHandler, Operation]] = {
    results.list_results: Operation(_page(out.Result), queries.ResultQuery),
    results.get_result: Operation(_tagged(out.ResultDetail), errors=(404,)),
    artifacts.list_artifacts: Operation(_page(out.Artifact), queries.PageQuery, errors=(404,)),
    artifacts.put_artifact: Operation(
        {201: out.Artifact}, uploads.ArtifactQuery, takes=(_BYTES,), errors=(404, 413, 415, 422)
    ),
    artifacts.get_artifact: Operation(_FILE, errors=(404, 416)),
    exports.create_export: Operation({202: out.Export}, body=ExportRequest, errors=(422,), located=True),
    exports.list_exports: Operation(_page(out.Export), queries.PageQuery),
    exports.get_export: Operation(_tagged(out.Export), queries.WaitQuery, errors=(404,)),
    exports.get_file: Operation(_FILE, errors=(404, 409, 410, 416)),
    exports.delete_export: Operation({204: None}, errors=(404, 409, 422)),
    runs.list_runs: Operation(_page(out.Run), queries.RunQuery),
    runs.get_run: Operation(_tagged(out.Run), queries.WaitQuery, errors=(404,)),
    runs.delete_run: Operation({204: None}, errors=(404, 409, 422)),
    reports.create_report: Operation(
        {202: out.Receipt},
        uploads.ReportQuery,
        takes=(*media_types(), MULTIPART),
        errors=(409, 413, 415, 422),
        located=True,
    ),
    receipts.list_receipts: Operation(_page(out.Receipt), uploads.ReceiptQuery),
    receipts.get_receipt: Operation({200: out.Receipt}, queries.WaitQuery, errors=(404,)),
    cases.list_cases: Operation(_page(out.CaseSummary), queries.CasesQuery),
    cases.get_case: Operation(_tagged(out.CaseSummary), queries.CaseQuery, errors=(404,)),
    cases.list_history: Operation(_page(out.Result), queries.HistoryQuery, errors=(404,)),
    events.list_events: Operation(_page(out.Event), queries.EventQuery, errors=(404, 410)),
    events.stream_events: Operation({200: "text/event-stream"}, queries.StreamQuery, errors=(404, 410)),
    hooks.post_webhook: Operation({201: out.WebhookWithSecret}, body=webhooks.WebhookIn, errors=(409, 422)),
    hooks.list_webhooks: Operation(_page(out.Webhook), queries.PageQuery),
    hooks.get_webhook: Operation({200: out.Webhook}, errors=(404,)),
    hooks.patch_webhook: Operation({200: out.Webhook}, body=webhooks.WebhookPatch, errors=(404, 409, 422)),
    hooks.remove_webhook: Operation({204: None}, errors=(404, 409, 422)),
    hooks.post_test: Operation({202: out.WebhookDelivery}, errors=(404, 409, 422)),
    hooks.post_rotation: Operation({200: out.WebhookWithSecret}, errors=(404, 409, 422)),
    hooks.post_recovery: Operation({202: out.Recovery}, body=webhooks.RecoverIn, errors=(404, 409, 422), located=True),
    hooks.get_recovery: Operation({200: out.Recovery}, errors=(404,)),
    hooks.list_deliveries: Operation(_page(out.WebhookDelivery), webhooks.DeliveryQuery, errors=(404,)),
    hooks.post_redelivery: Operation({202: out.WebhookDelivery}, errors=(404, 409, 422)),
    keys.list_keys: Operation(_page(out.ApiKey), queries.PageQuery),
    keys.create_key: Operation({201: out.ApiKeyWithSecret}, body=KeyRequest, errors=(409, 422)),
    keys.rotate_key: Operation({200: out.ApiKeyWithSecret}, errors=(404, 409, 422)),
    keys.delete_key: Operation({204: None}, errors=(404, 409, 422)),
    health.get_health: Operation({200: out.Health}),
    health.get_readiness: Operation({200: out.Readiness, 503: out.Readiness}),
    metrics.get_metrics: Operation({200: "text/plain"}),
    documentation.get_document: Operation({200: dict[str, Any]}),
    documentation.get_page: Operation({200: "text/html"}),
    documentation.get_asset: Operation({200: _BYTES}, errors=(404,)),
}
