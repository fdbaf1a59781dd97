"""The route table: every path with its handler, permission, and contract. A new route is a handler and a row here.

`access_routes` contains the rows about who has access, and `public_routes` those of the routes that need no key.
"""

import dataclasses
from typing import Final

from aiohttp import web

from service.api.access_routes import ACCESS_ROUTES
from service.api.handlers import (
    artifacts,
    cases,
    comparison,
    decisions,
    events,
    exports,
    failures,
    gates,
    keys,
    projects,
    quarantines,
    receipts,
    reports,
    results,
    runs,
    stats,
    webhooks,
)
from service.api.http.authentication import ApiHandler, require_permission
from service.api.http.oauth import oauth_errors
from service.api.http.parsing import reject_query
from service.api.http.paths import router_path
from service.api.operations import BINARY, Operation, Route, file_download, page_of, with_etag
from service.api.public_routes import PUBLIC_ROUTES
from service.api.server.connections import handle_expect
from service.contracts import queries
from service.contracts import reports as report_contracts
from service.contracts import responses as out
from service.contracts import results as result_contracts
from service.contracts import runs as run_contracts
from service.contracts import webhooks as webhook_contracts
from service.contracts.cases import CaseList, CaseSummary
from service.contracts.comparison import ComparisonQuery, RunComparison
from service.contracts.exports import ExportRequest
from service.contracts.failures import FailureGroupDetail, FailurePatch, FailureQuery, RankedFailureGroups
from service.contracts.gates import Decision, DecisionQuery, DecisionRequest, GateIn, GateOut, WaiverIn
from service.contracts.keys import KeyRequest
from service.contracts.projects import ProjectDeletion, ProjectPatch
from service.contracts.promotions import PromotionRequest
from service.contracts.quarantines import QuarantineIn, QuarantinePatch, QuarantineQuery
from service.contracts.receipts import Receipt
from service.contracts.stats import RunStats, StatsQuery
from service.domain.archive_formats import upload_media_types
from service.domain.keys import Permission
from service.domain.report_formats import supported_formats

_UNTRUSTED: Final[Permission] = "reports:create_untrusted"  # for runs whose IDs begin with untrusted:

_RESULT_ROUTES: Final = (
    Route("GET", "/results", results.list_results, "results:read", Operation(
        "list_results", "List results, newest run first", page_of(result_contracts.Result), queries.ResultQuery,
    )),
    Route("GET", "/results/{id}", results.get_result, "results:read", Operation(
        "get_result", "Get a result with its attempts and its run", with_etag(result_contracts.ResultDetail),
        errors=("not_found",),
    )),
    Route("GET", "/results/{id}/artifacts", artifacts.list_artifacts, "results:read", Operation(
        "list_artifacts", "List the artifacts of a result", page_of(out.Artifact), queries.PageQuery,
        errors=("not_found",),
        description="The files and the output of the result, and the exports that were requested for its run.",
    )),
    Route("PUT", "/results/{id}/artifacts/{name}", artifacts.upload_artifact, "reports:create", Operation(
        "upload_artifact", "Upload an artifact of a result", {200: out.Artifact, 201: out.Artifact},
        report_contracts.ArtifactQuery, media_types=(BINARY,),
        errors=("not_found", "conflict", "too_large", "unsupported_media_type"),
        description="Replaces an artifact with the same name. Responds with 200 if it already has these bytes.",
    ), _UNTRUSTED),
    Route("GET", "/artifacts/{id}", artifacts.download_artifact, "results:read", Operation(
        "download_artifact", "Download an artifact", file_download(), errors=("not_found", "range_not_satisfiable"),
        description="Sends the file or redirects to a presigned URL.",
    )),
)  # fmt: skip
_RUN_ROUTES: Final = (
    Route("GET", "/runs", runs.list_runs, "results:read", Operation(
        "list_runs", "List runs, latest completed first", page_of(run_contracts.Run), queries.RunQuery,
    )),
    Route("GET", "/runs/{run_id}", runs.get_run, "results:read", Operation(
        "get_run", "Get a run", with_etag(run_contracts.RunDetail), queries.WaitQuery, errors=("not_found",),
        description="With `wait`, responds as soon as the run is complete, or after that time with its current state.",
    )),
    Route("DELETE", "/runs/{run_id}", runs.delete_run, "runs:delete", Operation(
        "delete_run", "Delete a run with its results, artifacts, and files", {204: None}, errors=("not_found",),
    )),
    Route("POST", "/runs/{run_id}/complete", runs.complete_run, "reports:create", Operation(
        "complete_run", "Complete a run that was sent with final=false", {200: run_contracts.RunDetail},
        errors=("not_found", "conflict"),
        description="A complete run stays unchanged. If expected shards or results are missing, responds with 409.",
    )),
    Route("POST", "/runs/{run_id}/promote", runs.promote_run, "runs:promote", Operation(
        "promote_run", "Promote an untrusted run",
        {200: run_contracts.RunDetail, 202: run_contracts.RunDetail}, body=PromotionRequest,
        errors=("not_found", "conflict"),
        description="Replaces the run by a trusted one with the same ID and only the named reports, and responds with"
        " 202. The service stores these reports again: the run isn't complete, and has the status `error`, before that."
        " No other upload can change the run. Responds with 200 if the run has been promoted with these receipts"
        " before, and with 409 if a report states another commit, is unknown, or was rejected.",
    )),
    Route("GET", "/runs/{run_id}/comparison", comparison.compare_run, "results:read", Operation(
        "compare_run", "Compare a run with earlier runs: new, known, and fixed failures", {200: RunComparison},
        ComparisonQuery, errors=("not_found", "gone"),
        description="The window contains the newest 20 earlier runs of the base branch that are complete, aren't"
        " canceled, have executed results, and have the same environment. The baseline is the newest run of the window."
        " A cursor is invalid after a change of the run, a run of the window, or a quarantine.",
    )),
    Route("GET", "/runs/{run_id}/artifacts", artifacts.list_run_artifacts, "results:read", Operation(
        "list_run_artifacts", "List the artifacts of a run", page_of(out.Artifact), report_contracts.RunArtifactsQuery,
        errors=("not_found",),
        description="The uploaded reports, all output of each upload, the output of suites, the files that no result"
        " refers to, and the exports. The files and the output of a result are in the list of the result.",
    )),
    Route("PUT", "/runs/{run_id}/artifacts/{file_name}", artifacts.upload_run_artifact, "reports:create", Operation(
        "upload_run_artifact", "Upload an artifact of a run or of one of its results",
        {200: out.Artifact, 201: out.Artifact}, report_contracts.RunArtifactQuery, media_types=(BINARY,),
        errors=("not_found", "conflict", "too_large", "unsupported_media_type"),
        description="`case`, or `suite` and `name`, state the result. Replaces an artifact with the same name. Responds"
        " with 200 if it already has these bytes.",
    ), _UNTRUSTED),
    Route("PUT", "/runs/{run_id}/pin", runs.pin_run, "runs:delete", Operation(
        "pin_run", "Exclude a run from retention", {204: None}, errors=("not_found", "conflict"),
        description="The run, its results, and its artifacts stay until the run is unpinned or deleted explicitly.",
    )),
    Route("DELETE", "/runs/{run_id}/pin", runs.unpin_run, "runs:delete", Operation(
        "unpin_run", "Include a run in retention again", {204: None}, errors=("not_found",),
    )),
    Route("POST", "/runs/{run_id}/report", reports.upload_report, "reports:create", Operation(
        "upload_report", "Upload a report of a run", {202: Receipt}, report_contracts.ReportQuery,
        media_types=(*upload_media_types(), BINARY), form_files=reports.FORM_FILES,
        errors=("too_large", "unsupported_media_type"), has_location=True,
        description="The service processes the report asynchronously. The receipt shows the outcome. All reports of a"
        " form are one upload with one receipt. A file is a report if it is in the field `report`, or if it is in"
        " another field than `attachment` and has the content of a report. With the media type"
        " `application/octet-stream`, the content determines the format. A ZIP or TAR archive, also one that gzip or"
        " Zstandard compressed, contains reports if it is the body or in the field `report`. Formats: "
        f"{supported_formats()}.",
    ), _UNTRUSTED),
    Route("GET", "/receipts", receipts.list_receipts, "reports:create", Operation(
        "list_receipts", "List receipts, newest first", page_of(Receipt), report_contracts.ReceiptQuery,
    ), _UNTRUSTED),
    Route("GET", "/receipts/{id}", receipts.get_receipt, "reports:create", Operation(
        "get_receipt", "Get a receipt", {200: Receipt}, queries.WaitQuery, errors=("not_found",),
        description="With `wait`, responds as soon as the receipt is final, or after that time with its current state.",
    ), _UNTRUSTED),
)  # fmt: skip
_CASE_ROUTES: Final = (
    Route("GET", "/cases", cases.list_cases, "results:read", Operation(
        "list_cases", "List the cases of a project, grouped by suite or ranked", {200: CaseList}, queries.CasesQuery,
        description="With `sort`, one page: the cases with the most failing or flaky results in the newest `runs` runs,"
        " or the slowest cases of the newest complete run with executed results. The statistics cover these runs. At"
        " most 20,000 results are read. `branch`, `from`, and `to` select these runs. Without `sort`, they select the"
        " newest 200 of the matching runs: cases without a result in them aren't listed, and statistics ignore other"
        " runs. A page that filters can be short or empty although the list continues.",
    )),
    Route("GET", "/cases/{id}", cases.get_case, "results:read", Operation(
        "get_case", "Get a case with its statistics", with_etag(CaseSummary), queries.CaseQuery,
        errors=("not_found",),
    )),
    Route("GET", "/cases/{id}/history", cases.list_case_history, "results:read", Operation(
        "list_case_history", "List the results of a case, newest run first", page_of(result_contracts.Result),
        queries.HistoryQuery, errors=("not_found",),
    )),
)  # fmt: skip
_STATS_ROUTES: Final = (
    Route("GET", "/stats", stats.get_stats, "results:read", Operation(
        "get_stats", "Get statistics about the runs of each hour, day, or week", {200: RunStats}, StatsQuery,
        description="The range has at most 400 intervals. The default is the latest 30. Intervals without runs are"
        " left out. At most the newest 20,000 runs of the range are read.",
    )),
)  # fmt: skip
_PROJECT_ROUTES: Final = (
    Route("GET", "/projects", projects.list_projects, "results:read", Operation(
        "list_projects", "List projects in the order of their IDs", page_of(out.Project), queries.PageQuery,
    )),
    Route("GET", "/projects/{project_id}", projects.get_project, "results:read", Operation(
        "get_project", "Get a project", with_etag(out.Project), errors=("not_found",),
    )),
    Route("PATCH", "/projects/{project_id}", projects.update_project, "projects:manage", Operation(
        "update_project", "Update fields of a project", {200: out.Project}, body=ProjectPatch,
        errors=("not_found",),
    )),
    Route("DELETE", "/projects/{project_id}", projects.delete_project, "projects:manage", Operation(
        "delete_project", "Delete a project with its runs, cases, and quarantines", {202: out.Project}, ProjectDeletion,
        errors=("not_found",),
        description="The deletion runs in the background, also after an interruption. The project is found until it is"
        " finished. A repeated request changes nothing. Uploads and events of the project that arrive meanwhile are"
        " stored after that, and create the project again. Decisions and the audit trail stay.",
    )),
)  # fmt: skip
_FAILURE_ROUTES: Final = (
    Route("GET", "/failures", failures.list_failures, "results:read", Operation(
        "list_failures", "Rank the failure groups of a project or run", {200: RankedFailureGroups}, FailureQuery,
        description="A failure group contains the failures of a project that differ only in values such as numbers and"
        " IDs. The list has one page.",
    )),
    Route("GET", "/failures/{id}", failures.get_failure, "results:read", Operation(
        "get_failure", "Get a failure group", with_etag(FailureGroupDetail), errors=("not_found",),
    )),
    Route("PATCH", "/failures/{id}", failures.update_failure, "quarantines:manage", Operation(
        "update_failure", "Set or remove the ticket of a failure group", {200: FailureGroupDetail}, body=FailurePatch,
        errors=("not_found",), description="The ticket also applies to later failures of the group.",
    )),
)  # fmt: skip
_QUARANTINE_ROUTES: Final = (
    Route("POST", "/quarantines", quarantines.create_quarantine, "quarantines:manage", Operation(
        "create_quarantine", "Excuse failures of matching cases in gates", {201: out.Quarantine}, body=QuarantineIn,
        errors=("not_found",), description="The results and the runs stay failed.",
    )),
    Route("GET", "/quarantines", quarantines.list_quarantines, "results:read", Operation(
        "list_quarantines", "List quarantines, newest first", {**page_of(out.Quarantine), 304: None}, QuarantineQuery,
    )),
    Route("GET", "/quarantines/{id}", quarantines.get_quarantine, "results:read", Operation(
        "get_quarantine", "Get a quarantine", with_etag(out.Quarantine), errors=("not_found",),
    )),
    Route("PATCH", "/quarantines/{id}", quarantines.update_quarantine, "quarantines:manage", Operation(
        "update_quarantine", "Update the given fields of an active quarantine", {200: out.Quarantine},
        body=QuarantinePatch, errors=("not_found",),
        description="Responds with 409 if the quarantine has ended or expired.",
    )),
    Route("DELETE", "/quarantines/{id}", quarantines.delete_quarantine, "quarantines:manage", Operation(
        "delete_quarantine", "End a quarantine", {204: None}, errors=("not_found",),
        description="The quarantine stays readable, because decisions refer to it.",
    )),
)  # fmt: skip
_EXPORT_ROUTES: Final = (
    Route("POST", "/results/export", exports.create_export, "results:export", Operation(
        "create_export", "Request an export", {202: out.Export}, body=ExportRequest, errors=("gone",),
        has_location=True,
    )),
    Route("GET", "/results/export", exports.list_exports, "results:export", Operation(
        "list_exports", "List exports, newest first", page_of(out.Export), queries.PageQuery,
    )),
    Route("GET", "/results/export/{id}", exports.get_export, "results:export", Operation(
        "get_export", "Get an export", with_etag(out.Export), queries.WaitQuery, errors=("not_found",),
        description="With `wait`, responds when the export is finished, or after that time with its current state.",
    )),
    Route("DELETE", "/results/export/{id}", exports.delete_export, "results:export", Operation(
        "delete_export", "Cancel an export, or delete a finished one with its file", {204: None},
        errors=("not_found",),
    )),
    Route("GET", "/results/export/{id}/file", exports.download_export, "results:export", Operation(
        "download_export", "Download the file of an export", file_download(),
        errors=("not_found", "conflict", "gone", "range_not_satisfiable"),
        description="Sends the file or redirects to a presigned URL.",
    )),
)  # fmt: skip
_EVENT_ROUTES: Final = (
    Route("GET", "/events", events.list_events, "results:read", Operation(
        "list_events", "List events", page_of(out.Event), queries.EventQuery, errors=("not_found", "gone"),
        description="Newest first. With `after`, lists the events after that event, oldest first.",
    )),
    Route("GET", "/events/stream", events.stream_events, "results:read", Operation(
        "stream_events", "Stream events as server-sent events", {200: "text/event-stream"}, queries.StreamQuery,
        errors=("not_found", "gone"),
        description="Events have the fields `id` (the position after it) and `data` (the envelope as JSON), and no"
        " field `event`. Continues after `Last-Event-ID`, or starts with the next event. Sends a comment at least every"
        " 15 s. Closes the connection of a client that reads too slowly.",
    )),
)  # fmt: skip
_WEBHOOK_ROUTES: Final = (
    Route("POST", "/webhooks", webhooks.create_webhook, "webhooks:manage", Operation(
        "create_webhook", "Register a webhook", {201: out.WebhookWithSecret}, body=webhook_contracts.WebhookIn,
        description="Only this response contains the secret that the service generated.",
    )),
    Route("GET", "/webhooks", webhooks.list_webhooks, "webhooks:manage", Operation(
        "list_webhooks", "List webhooks, newest first", page_of(out.Webhook), queries.PageQuery,
    )),
    Route("GET", "/webhooks/{id}", webhooks.get_webhook, "webhooks:manage", Operation(
        "get_webhook", "Get a webhook with the state of its endpoint", {200: out.Webhook}, errors=("not_found",),
    )),
    Route("PATCH", "/webhooks/{id}", webhooks.update_webhook, "webhooks:manage", Operation(
        "update_webhook", "Update the given fields of a webhook", {200: out.Webhook},
        body=webhook_contracts.WebhookPatch, errors=("not_found",),
    )),
    Route("DELETE", "/webhooks/{id}", webhooks.delete_webhook, "webhooks:manage", Operation(
        "delete_webhook", "Delete a webhook and its deliveries", {204: None}, errors=("not_found",),
    )),
    Route("POST", "/webhooks/{id}/test", webhooks.test_webhook, "webhooks:manage", Operation(
        "test_webhook", "Send an event of type webhook.test to a webhook", {202: out.WebhookDelivery},
        errors=("not_found",),
    )),
    Route("POST", "/webhooks/{id}/rotate-secret", webhooks.rotate_webhook_secret, "webhooks:manage", Operation(
        "rotate_webhook_secret", "Replace the secret of a webhook", {200: out.WebhookWithSecret},
        errors=("not_found",),
        description="Only this response contains the new secret. The previous one also signs deliveries for 24 hours.",
    )),
    Route("POST", "/webhooks/{id}/recover", webhooks.recover_webhook, "webhooks:manage", Operation(
        "recover_webhook", "Deliver the events that a webhook has missed since a time", {202: out.Recovery},
        body=webhook_contracts.RecoverIn, errors=("not_found",), has_location=True,
    )),
    Route("GET", "/webhooks/{id}/recoveries/{recovery_id}", webhooks.get_webhook_recovery, "webhooks:manage", Operation(
        "get_webhook_recovery", "Get the progress of a recovery", {200: out.Recovery}, errors=("not_found",),
    )),
    Route("GET", "/webhooks/{id}/deliveries", webhooks.list_webhook_deliveries, "webhooks:manage", Operation(
        "list_webhook_deliveries", "List deliveries with their attempts, newest event first",
        page_of(out.WebhookDelivery), webhook_contracts.DeliveryQuery, errors=("not_found",),
    )),
    Route(
        "POST", "/webhooks/{id}/deliveries/{delivery_id}/redeliver", webhooks.redeliver_webhook_event,
        "webhooks:manage",
        Operation(
            "redeliver_webhook_event", "Deliver an event to a webhook again", {202: out.WebhookDelivery},
            errors=("not_found",),
        ),
    ),
)  # fmt: skip
_GATE_ROUTES: Final = (
    Route("GET", "/gates", gates.list_gates, "results:read", Operation(
        "list_gates", "List gates in the order of their names", page_of(GateOut), queries.PageQuery,
    )),
    Route("GET", "/gates/{name}", gates.get_gate, "results:read", Operation(
        "get_gate", "Get a gate", {200: GateOut}, errors=("not_found",),
    )),
    Route("PUT", "/gates/{name}", gates.put_gate, "gates:manage", Operation(
        "put_gate", "Create a gate, or replace its policy", {200: GateOut, 201: GateOut}, body=GateIn,
        description="The version increases only if the policy changes, and never restarts, not even after a deletion.",
    )),
    Route("DELETE", "/gates/{name}", gates.delete_gate, "gates:manage", Operation(
        "delete_gate", "Delete a gate", {204: None}, errors=("not_found",), description="Decisions of the gate remain.",
    )),
    Route("POST", "/runs/{run_id}/decisions", decisions.create_decision, "results:read", Operation(
        "create_decision", "Apply a gate or an inline policy to a run", {200: Decision, 201: Decision},
        queries.WaitQuery, body=DecisionRequest, errors=("not_found", "conflict", "gone"),
        description="Responds with 201 if this request stored the decision, and with 200 if the newest decision of the"
        " gate about the run, or a waived one, has the same inputs. Storing requires the permission reports:create, and"
        " the key of a CI job stores only decisions about runs of its pipeline and branch. Otherwise, and for an inline"
        " policy without `record`, the decision is a dry run: 200, and its `id` is null. With `wait`, waits until the"
        " run is complete.",
    )),
    Route("GET", "/decisions", decisions.list_decisions, "results:read", Operation(
        "list_decisions", "List decisions, newest first", page_of(Decision), DecisionQuery,
    )),
    Route("GET", "/decisions/{id}", decisions.get_decision, "results:read", Operation(
        "get_decision", "Get a decision", {200: Decision}, errors=("not_found",),
    )),
    Route("POST", "/decisions/{id}/waiver", decisions.waive_decision, "gates:manage", Operation(
        "waive_decision", "Let a blocked decision of a gate pass", {201: Decision}, body=WaiverIn,
        errors=("not_found", "conflict"),
    )),
)  # fmt: skip
_KEY_ROUTES: Final = (
    Route("GET", "/api-keys", keys.list_keys, "keys:manage", Operation(
        "list_keys", "List API keys, newest first", page_of(out.ApiKey), queries.PageQuery,
        description="Includes revoked keys.",
    )),
    Route("POST", "/api-keys", keys.create_key, "keys:manage", Operation(
        "create_key", "Create an API key", {201: out.ApiKeyWithSecret}, body=KeyRequest,
        description="Only this response contains the key.",
    )),
    Route("POST", "/api-keys/{id}/rotate", keys.rotate_key, "keys:manage", Operation(
        "rotate_key", "Replace the secret of an API key", {200: out.ApiKeyWithSecret}, errors=("not_found",),
        description="Only this response contains the new key. The previous one remains valid for 24 hours.",
    )),
    Route("DELETE", "/api-keys/{id}", keys.delete_key, "keys:manage", Operation(
        "delete_key", "Revoke an API key", {204: None}, errors=("not_found",),
        description="The service rejects the key within five seconds.",
    )),
)  # fmt: skip
V1: Final = (
    *_RESULT_ROUTES, *_EXPORT_ROUTES, *_RUN_ROUTES, *_CASE_ROUTES, *_STATS_ROUTES, *_PROJECT_ROUTES, *_EVENT_ROUTES,
    *_WEBHOOK_ROUTES, *_KEY_ROUTES, *ACCESS_ROUTES, *_QUARANTINE_ROUTES, *_GATE_ROUTES, *_FAILURE_ROUTES,
)  # fmt: skip
# The operations of the original API, which also work without the prefix.
_WITHOUT_PREFIX: Final = ("/results", "/results/{id}", "/results/{id}/artifacts", "/results/export")


def all_routes() -> list[Route]:
    """Return every route under the path that clients use."""
    prefixed = [dataclasses.replace(route, path=f"/v1{route.path}") for route in V1]
    return [*prefixed, *map(_unprefixed, (route for route in V1 if route.path in _WITHOUT_PREFIX)), *PUBLIC_ROUTES]


def add_routes(app: web.Application) -> None:
    """Register every route with its checks. Fixed paths precede paths with a variable."""
    for route in sorted(all_routes(), key=lambda route: route.path.replace("{", "~")):
        handler = _guarded(route)
        path = router_path(route.path)
        app.router.add_route(route.method, path, handler, expect_handler=handle_expect)
        if route.method == "GET":
            app.router.add_route("HEAD", path, handler, expect_handler=handle_expect)


def _unprefixed(route: Route) -> Route:
    operation = dataclasses.replace(route.operation, operation_id=f"{route.operation.operation_id}_unprefixed")
    return dataclasses.replace(route, operation=operation)


def _guarded(route: Route) -> ApiHandler:
    """Wrap the handler with its checks. Public routes ignore unknown query parameters, which probes can add."""
    if route.operation.form:
        return oauth_errors(reject_query(route.handler))
    if route.permission is None:
        return route.handler
    handler = route.handler if route.operation.query else reject_query(route.handler)
    return require_permission(route.permissions, handler)
