"""The route table: every path with its handler, permission, and contract. A new route is a handler and a row here.

`access_routes` contains the rows about who has access, and `public_routes` those of the routes that need no key.
"""

import dataclasses
from typing import Final

from aiohttp import web

from service.api.public_routes import PUBLIC_ROUTES
from service.api.server.connections import handle_expect
from service.artifacts import api as artifacts_api
from service.artifacts.contract import Artifact, ArtifactQuery, RunArtifactQuery, RunArtifactsQuery
from service.cases import api as cases_api
from service.cases.contract import CaseList, CaseQuery, CasesQuery, CaseSummary
from service.comparison import api as comparison_api
from service.comparison.contract import ComparisonQuery, RunComparison
from service.contracts import queries
from service.contracts.queries import PageQuery
from service.events import api as events_api
from service.events.contract import Event, EventQuery, StreamQuery
from service.exports import api as exports_api
from service.exports.contract import Export, ExportRequest
from service.failures import api as failures_api
from service.failures.contract import FailureGroupDetail, FailurePatch, FailureQuery, RankedFailureGroups
from service.gates import api as gates_api
from service.gates.contract import Decision, DecisionQuery, DecisionRequest, GateIn, GateOut, WaiverIn
from service.http.authentication import ApiHandler, require_permission
from service.http.parsing import reject_query
from service.http.routes import BINARY, Operation, Route, file_download, page_of, router_path, with_etag
from service.identity.keys import api as keys_api
from service.identity.keys.contract import ApiKey, ApiKeyWithSecret, KeyRequest
from service.identity.keys.model import Permission
from service.identity.members import api as members_api
from service.identity.members.contract import Member, MemberIn, MemberPatch
from service.identity.publishers import api as publishers_api
from service.identity.publishers.api import oauth_errors
from service.identity.publishers.contract import (
    PublisherIn,
    PublisherPatch,
    TokenExchangeQuery,
    TokenExchanges,
    TrustedPublisher,
)
from service.projects import api as projects_api
from service.projects.contract import Project, ProjectDeletion, ProjectPatch
from service.quarantines import api as quarantines_api
from service.quarantines.contract import Quarantine, QuarantineIn, QuarantinePatch, QuarantineQuery
from service.receipts import api as receipts_api
from service.receipts.contract import Receipt, ReceiptQuery
from service.reports import api as reports_api
from service.reports.contract import ReportQuery
from service.reports.format_table import supported_formats, upload_media_types
from service.results import api as results_api
from service.results.contract import Result, ResultDetail
from service.runs import api as runs_api
from service.runs.contract import PromotionRequest, Run, RunDetail
from service.stats import api as stats_api
from service.stats.contract import RunStats, StatsQuery
from service.webhooks import api as webhooks_api
from service.webhooks.contract import (
    DeliveryQuery,
    RecoverIn,
    Recovery,
    Webhook,
    WebhookDelivery,
    WebhookIn,
    WebhookPatch,
    WebhookWithSecret,
)

_MEMBER_ROUTES: Final = (
    Route("GET", "/members", members_api.list_members, "keys:manage", Operation(
        "list_members", "List members, newest first", page_of(Member), PageQuery,
        description="Without removed members.",
    )),
    Route("GET", "/members/{id}", members_api.get_member, "keys:manage", Operation(
        "get_member", "Get a member", {200: Member}, errors=("not_found",),
    )),
    Route("POST", "/members", members_api.create_member, "keys:manage", Operation(
        "create_member", "Let a person or a group sign in to the console", {201: Member}, body=MemberIn,
        description="Responds with 409 if the email or group is already a member of the project, or of all projects.",
    )),
    Route("PATCH", "/members/{id}", members_api.update_member, "keys:manage", Operation(
        "update_member", "Change the role or the project of a member", {200: Member}, body=MemberPatch,
        errors=("not_found",), description="The change applies to sessions within five seconds.",
    )),
    Route("DELETE", "/members/{id}", members_api.delete_member, "keys:manage", Operation(
        "delete_member", "Remove a member", {204: None}, errors=("not_found",),
        description="The sessions of the member end within five seconds.",
    )),
)  # fmt: skip
_PUBLISHER_ROUTES: Final = (
    Route("GET", "/publishers", publishers_api.list_publishers, "keys:manage", Operation(
        "list_publishers", "List trusted publishers, newest first", page_of(TrustedPublisher), PageQuery,
        description="Without deleted publishers.",
    )),
    Route("GET", "/publishers/{id}", publishers_api.get_publisher, "keys:manage", Operation(
        "get_publisher", "Get a trusted publisher", {200: TrustedPublisher}, errors=("not_found",),
    )),
    Route("POST", "/publishers", publishers_api.create_publisher, "keys:manage", Operation(
        "create_publisher", "Let CI jobs exchange their ID tokens for keys", {201: TrustedPublisher}, body=PublisherIn,
        description="A job needs no stored secret: its ID token becomes a key of one project for 15 minutes.",
        errors=("conflict",),
    )),
    Route("PATCH", "/publishers/{id}", publishers_api.update_publisher, "keys:manage", Operation(
        "update_publisher", "Update the given fields of a trusted publisher", {200: TrustedPublisher},
        body=PublisherPatch, errors=("not_found",),
        description="Unless only the name changes, the service rejects the keys of its jobs within five seconds.",
    )),
    Route("DELETE", "/publishers/{id}", publishers_api.delete_publisher, "keys:manage", Operation(
        "delete_publisher", "Delete a trusted publisher", {204: None}, errors=("not_found",),
        description="The service rejects the keys of its jobs within five seconds.",
    )),
    Route("GET", "/token-exchanges", publishers_api.list_token_exchanges, "keys:manage", Operation(
        "list_token_exchanges", "List the newest exchanges of ID tokens", {200: TokenExchanges}, TokenExchangeQuery,
        description="The newest 100 of the organization, accepted and refused ones. Only authentic tokens of a"
        " repository that a publisher names are listed.",
    )),
)  # fmt: skip
ACCESS_ROUTES: Final = (*_MEMBER_ROUTES, *_PUBLISHER_ROUTES)

_UNTRUSTED: Final[Permission] = "reports:create_untrusted"  # for runs whose IDs begin with untrusted:

_RESULT_ROUTES: Final = (
    Route("GET", "/results", results_api.list_results, "results:read", Operation(
        "list_results", "List results, newest run first", page_of(Result), queries.ResultQuery,
    )),
    Route("GET", "/results/{id}", results_api.get_result, "results:read", Operation(
        "get_result", "Get a result with its attempts and its run", with_etag(ResultDetail),
        errors=("not_found",),
    )),
    Route("GET", "/results/{id}/artifacts", artifacts_api.list_artifacts, "results:read", Operation(
        "list_artifacts", "List the artifacts of a result", page_of(Artifact), queries.PageQuery,
        errors=("not_found",),
        description="The files and the output of the result, and the exports that were requested for its run.",
    )),
    Route("PUT", "/results/{id}/artifacts/{name}", artifacts_api.upload_artifact, "reports:create", Operation(
        "upload_artifact", "Upload an artifact of a result", {200: Artifact, 201: Artifact},
        ArtifactQuery, media_types=(BINARY,),
        errors=("not_found", "conflict", "too_large", "unsupported_media_type"),
        description="Replaces an artifact with the same name. Responds with 200 if it already has these bytes.",
    ), _UNTRUSTED),
    Route("GET", "/artifacts/{id}", artifacts_api.download_artifact, "results:read", Operation(
        "download_artifact", "Download an artifact", file_download(), errors=("not_found", "range_not_satisfiable"),
        description="Sends the file or redirects to a presigned URL.",
    )),
)  # fmt: skip
_RUN_ROUTES: Final = (
    Route("GET", "/runs", runs_api.list_runs, "results:read", Operation(
        "list_runs", "List runs, latest completed first", page_of(Run), queries.RunQuery,
    )),
    Route("GET", "/runs/{run_id}", runs_api.get_run, "results:read", Operation(
        "get_run", "Get a run", with_etag(RunDetail), queries.WaitQuery, errors=("not_found",),
        description="With `wait`, responds as soon as the run is complete, or after that time with its current state.",
    )),
    Route("DELETE", "/runs/{run_id}", runs_api.delete_run, "runs:delete", Operation(
        "delete_run", "Delete a run with its results, artifacts, and files", {204: None}, errors=("not_found",),
    )),
    Route("POST", "/runs/{run_id}/complete", runs_api.complete_run, "reports:create", Operation(
        "complete_run", "Complete a run that was sent with final=false", {200: RunDetail},
        errors=("not_found", "conflict"),
        description="A complete run stays unchanged. If expected shards or results are missing, responds with 409.",
    )),
    Route("POST", "/runs/{run_id}/promote", runs_api.promote_run, "runs:promote", Operation(
        "promote_run", "Promote an untrusted run",
        {200: RunDetail, 202: RunDetail}, body=PromotionRequest,
        errors=("not_found", "conflict"),
        description="Replaces the run by a trusted one with the same ID and only the named reports, and responds with"
        " 202. The service stores these reports again: the run isn't complete, and has the status `error`, before that."
        " No other upload can change the run. Responds with 200 if the run has been promoted with these receipts"
        " before, and with 409 if a report states another commit, is unknown, or was rejected.",
    )),
    Route("GET", "/runs/{run_id}/comparison", comparison_api.compare_run, "results:read", Operation(
        "compare_run", "Compare a run with earlier runs: new, known, and fixed failures", {200: RunComparison},
        ComparisonQuery, errors=("not_found", "gone"),
        description="The window contains the newest 20 earlier runs of the base branch that are complete, aren't"
        " canceled, have executed results, and have the same environment. The baseline is the newest run of the window."
        " A cursor is invalid after a change of the run, a run of the window, or a quarantine.",
    )),
    Route("GET", "/runs/{run_id}/artifacts", artifacts_api.list_run_artifacts, "results:read", Operation(
        "list_run_artifacts", "List the artifacts of a run", page_of(Artifact), RunArtifactsQuery,
        errors=("not_found",),
        description="The uploaded reports, all output of each upload, the output of suites, the files that no result"
        " refers to, and the exports. The files and the output of a result are in the list of the result.",
    )),
    Route("PUT", "/runs/{run_id}/artifacts/{file_name}", artifacts_api.upload_run_artifact, "reports:create", Operation(
        "upload_run_artifact", "Upload an artifact of a run or of one of its results",
        {200: Artifact, 201: Artifact}, RunArtifactQuery, media_types=(BINARY,),
        errors=("not_found", "conflict", "too_large", "unsupported_media_type"),
        description="`case`, or `suite` and `name`, state the result. Replaces an artifact with the same name. Responds"
        " with 200 if it already has these bytes.",
    ), _UNTRUSTED),
    Route("PUT", "/runs/{run_id}/pin", runs_api.pin_run, "runs:delete", Operation(
        "pin_run", "Exclude a run from retention", {204: None}, errors=("not_found", "conflict"),
        description="The run, its results, and its artifacts stay until the run is unpinned or deleted explicitly.",
    )),
    Route("DELETE", "/runs/{run_id}/pin", runs_api.unpin_run, "runs:delete", Operation(
        "unpin_run", "Include a run in retention again", {204: None}, errors=("not_found",),
    )),
    Route("POST", "/runs/{run_id}/report", reports_api.upload_report, "reports:create", Operation(
        "upload_report", "Upload a report of a run", {202: Receipt}, ReportQuery,
        media_types=(*upload_media_types(), BINARY), form_files=reports_api.FORM_FILES,
        errors=("too_large", "unsupported_media_type"), has_location=True,
        description="The service processes the report asynchronously. The receipt shows the outcome. All reports of a"
        " form are one upload with one receipt. A file is a report if it is in the field `report`, or if it is in"
        " another field than `attachment` and has the content of a report. With the media type"
        " `application/octet-stream`, the content determines the format. A ZIP or TAR archive, also one that gzip or"
        " Zstandard compressed, contains reports if it is the body or in the field `report`. Formats: "
        f"{supported_formats()}.",
    ), _UNTRUSTED),
    Route("GET", "/receipts", receipts_api.list_receipts, "reports:create", Operation(
        "list_receipts", "List receipts, newest first", page_of(Receipt), ReceiptQuery,
    ), _UNTRUSTED),
    Route("GET", "/receipts/{id}", receipts_api.get_receipt, "reports:create", Operation(
        "get_receipt", "Get a receipt", {200: Receipt}, queries.WaitQuery, errors=("not_found",),
        description="With `wait`, responds as soon as the receipt is final, or after that time with its current state.",
    ), _UNTRUSTED),
)  # fmt: skip
_CASE_ROUTES: Final = (
    Route("GET", "/cases", cases_api.list_cases, "results:read", Operation(
        "list_cases", "List the cases of a project, grouped by suite or ranked", {200: CaseList}, CasesQuery,
        description="With `sort`, one page: the cases with the most failing or flaky results in the newest `runs` runs,"
        " or the slowest cases of the newest complete run with executed results. The statistics cover these runs. At"
        " most 20,000 results are read. `branch`, `from`, and `to` select these runs. Without `sort`, they select the"
        " newest 200 of the matching runs: cases without a result in them aren't listed, and statistics ignore other"
        " runs. A page that filters can be short or empty although the list continues.",
    )),
    Route("GET", "/cases/{id}", cases_api.get_case, "results:read", Operation(
        "get_case", "Get a case with its statistics", with_etag(CaseSummary), CaseQuery,
        errors=("not_found",),
    )),
    Route("GET", "/cases/{id}/history", cases_api.list_case_history, "results:read", Operation(
        "list_case_history", "List the results of a case, newest run first", page_of(Result),
        queries.HistoryQuery, errors=("not_found",),
    )),
)  # fmt: skip
_STATS_ROUTES: Final = (
    Route("GET", "/stats", stats_api.get_stats, "results:read", Operation(
        "get_stats", "Get statistics about the runs of each hour, day, or week", {200: RunStats}, StatsQuery,
        description="The range has at most 400 intervals. The default is the latest 30. Intervals without runs are"
        " left out. At most the newest 20,000 runs of the range are read.",
    )),
)  # fmt: skip
_PROJECT_ROUTES: Final = (
    Route("GET", "/projects", projects_api.list_projects, "results:read", Operation(
        "list_projects", "List projects in the order of their IDs", page_of(Project), queries.PageQuery,
    )),
    Route("GET", "/projects/{project_id}", projects_api.get_project, "results:read", Operation(
        "get_project", "Get a project", with_etag(Project), errors=("not_found",),
    )),
    Route("PATCH", "/projects/{project_id}", projects_api.update_project, "projects:manage", Operation(
        "update_project", "Update fields of a project", {200: Project}, body=ProjectPatch,
        errors=("not_found",),
    )),
    Route("DELETE", "/projects/{project_id}", projects_api.delete_project, "projects:manage", Operation(
        "delete_project", "Delete a project with its runs, cases, and quarantines", {202: Project}, ProjectDeletion,
        errors=("not_found",),
        description="The deletion runs in the background, also after an interruption. The project is found until it is"
        " finished. A repeated request changes nothing. Uploads and events of the project that arrive meanwhile are"
        " stored after that, and create the project again. Decisions and the audit trail stay.",
    )),
)  # fmt: skip
_FAILURE_ROUTES: Final = (
    Route("GET", "/failures", failures_api.list_failures, "results:read", Operation(
        "list_failures", "Rank the failure groups of a project or run", {200: RankedFailureGroups}, FailureQuery,
        description="A failure group contains the failures of a project that differ only in values such as numbers and"
        " IDs. The list has one page.",
    )),
    Route("GET", "/failures/{id}", failures_api.get_failure, "results:read", Operation(
        "get_failure", "Get a failure group", with_etag(FailureGroupDetail), errors=("not_found",),
    )),
    Route("PATCH", "/failures/{id}", failures_api.update_failure, "quarantines:manage", Operation(
        "update_failure", "Set or remove the ticket of a failure group", {200: FailureGroupDetail}, body=FailurePatch,
        errors=("not_found",), description="The ticket also applies to later failures of the group.",
    )),
)  # fmt: skip
_QUARANTINE_ROUTES: Final = (
    Route("POST", "/quarantines", quarantines_api.create_quarantine, "quarantines:manage", Operation(
        "create_quarantine", "Excuse failures of matching cases in gates", {201: Quarantine}, body=QuarantineIn,
        errors=("not_found",), description="The results and the runs stay failed.",
    )),
    Route("GET", "/quarantines", quarantines_api.list_quarantines, "results:read", Operation(
        "list_quarantines", "List quarantines, newest first", {**page_of(Quarantine), 304: None}, QuarantineQuery,
    )),
    Route("GET", "/quarantines/{id}", quarantines_api.get_quarantine, "results:read", Operation(
        "get_quarantine", "Get a quarantine", with_etag(Quarantine), errors=("not_found",),
    )),
    Route("PATCH", "/quarantines/{id}", quarantines_api.update_quarantine, "quarantines:manage", Operation(
        "update_quarantine", "Update the given fields of an active quarantine", {200: Quarantine},
        body=QuarantinePatch, errors=("not_found",),
        description="Responds with 409 if the quarantine has ended or expired.",
    )),
    Route("DELETE", "/quarantines/{id}", quarantines_api.delete_quarantine, "quarantines:manage", Operation(
        "delete_quarantine", "End a quarantine", {204: None}, errors=("not_found",),
        description="The quarantine stays readable, because decisions refer to it.",
    )),
)  # fmt: skip
_EXPORT_ROUTES: Final = (
    Route("POST", "/results/export", exports_api.create_export, "results:export", Operation(
        "create_export", "Request an export", {202: Export}, body=ExportRequest, errors=("gone",),
        has_location=True,
    )),
    Route("GET", "/results/export", exports_api.list_exports, "results:export", Operation(
        "list_exports", "List exports, newest first", page_of(Export), queries.PageQuery,
    )),
    Route("GET", "/results/export/{id}", exports_api.get_export, "results:export", Operation(
        "get_export", "Get an export", with_etag(Export), queries.WaitQuery, errors=("not_found",),
        description="With `wait`, responds when the export is finished, or after that time with its current state.",
    )),
    Route("DELETE", "/results/export/{id}", exports_api.delete_export, "results:export", Operation(
        "delete_export", "Cancel an export, or delete a finished one with its file", {204: None},
        errors=("not_found",),
    )),
    Route("GET", "/results/export/{id}/file", exports_api.download_export, "results:export", Operation(
        "download_export", "Download the file of an export", file_download(),
        errors=("not_found", "conflict", "gone", "range_not_satisfiable"),
        description="Sends the file or redirects to a presigned URL.",
    )),
)  # fmt: skip
_EVENT_ROUTES: Final = (
    Route("GET", "/events", events_api.list_events, "results:read", Operation(
        "list_events", "List events", page_of(Event), EventQuery, errors=("not_found", "gone"),
        description="Newest first. With `after`, lists the events after that event, oldest first.",
    )),
    Route("GET", "/events/stream", events_api.stream_events, "results:read", Operation(
        "stream_events", "Stream events as server-sent events", {200: "text/event-stream"}, StreamQuery,
        errors=("not_found", "gone"),
        description="Events have the fields `id` (the position after it) and `data` (the envelope as JSON), and no"
        " field `event`. Continues after `Last-Event-ID`, or starts with the next event. Sends a comment at least every"
        " 15 s. Closes the connection of a client that reads too slowly.",
    )),
)  # fmt: skip
_WEBHOOK_ROUTES: Final = (
    Route("POST", "/webhooks", webhooks_api.create_webhook, "webhooks:manage", Operation(
        "create_webhook", "Register a webhook", {201: WebhookWithSecret}, body=WebhookIn,
        description="Only this response contains the secret that the service generated.",
    )),
    Route("GET", "/webhooks", webhooks_api.list_webhooks, "webhooks:manage", Operation(
        "list_webhooks", "List webhooks, newest first", page_of(Webhook), queries.PageQuery,
    )),
    Route("GET", "/webhooks/{id}", webhooks_api.get_webhook, "webhooks:manage", Operation(
        "get_webhook", "Get a webhook with the state of its endpoint", {200: Webhook}, errors=("not_found",),
    )),
    Route("PATCH", "/webhooks/{id}", webhooks_api.update_webhook, "webhooks:manage", Operation(
        "update_webhook", "Update the given fields of a webhook", {200: Webhook},
        body=WebhookPatch, errors=("not_found",),
    )),
    Route("DELETE", "/webhooks/{id}", webhooks_api.delete_webhook, "webhooks:manage", Operation(
        "delete_webhook", "Delete a webhook and its deliveries", {204: None}, errors=("not_found",),
    )),
    Route("POST", "/webhooks/{id}/test", webhooks_api.test_webhook, "webhooks:manage", Operation(
        "test_webhook", "Send an event of type webhook.test to a webhook", {202: WebhookDelivery},
        errors=("not_found",),
    )),
    Route("POST", "/webhooks/{id}/rotate-secret", webhooks_api.rotate_webhook_secret, "webhooks:manage", Operation(
        "rotate_webhook_secret", "Replace the secret of a webhook", {200: WebhookWithSecret},
        errors=("not_found",),
        description="Only this response contains the new secret. The previous one also signs deliveries for 24 hours.",
    )),
    Route("POST", "/webhooks/{id}/recover", webhooks_api.recover_webhook, "webhooks:manage", Operation(
        "recover_webhook", "Deliver the events that a webhook has missed since a time", {202: Recovery},
        body=RecoverIn, errors=("not_found",), has_location=True,
    )),
    Route("GET", "/webhooks/{id}/recoveries/{recovery_id}", webhooks_api.get_webhook_recovery,
          "webhooks:manage", Operation(
        "get_webhook_recovery", "Get the progress of a recovery", {200: Recovery}, errors=("not_found",),
    )),
    Route("GET", "/webhooks/{id}/deliveries", webhooks_api.list_webhook_deliveries, "webhooks:manage", Operation(
        "list_webhook_deliveries", "List deliveries with their attempts, newest event first",
        page_of(WebhookDelivery), DeliveryQuery, errors=("not_found",),
    )),
    Route(
        "POST", "/webhooks/{id}/deliveries/{delivery_id}/redeliver", webhooks_api.redeliver_webhook_event,
        "webhooks:manage",
        Operation(
            "redeliver_webhook_event", "Deliver an event to a webhook again", {202: WebhookDelivery},
            errors=("not_found",),
        ),
    ),
)  # fmt: skip
_GATE_ROUTES: Final = (
    Route("GET", "/gates", gates_api.list_gates, "results:read", Operation(
        "list_gates", "List gates in the order of their names", page_of(GateOut), queries.PageQuery,
    )),
    Route("GET", "/gates/{name}", gates_api.get_gate, "results:read", Operation(
        "get_gate", "Get a gate", {200: GateOut}, errors=("not_found",),
    )),
    Route("PUT", "/gates/{name}", gates_api.put_gate, "gates:manage", Operation(
        "put_gate", "Create a gate, or replace its policy", {200: GateOut, 201: GateOut}, body=GateIn,
        description="The version increases only if the policy changes, and never restarts, not even after a deletion.",
    )),
    Route("DELETE", "/gates/{name}", gates_api.delete_gate, "gates:manage", Operation(
        "delete_gate", "Delete a gate", {204: None}, errors=("not_found",), description="Decisions of the gate remain.",
    )),
    Route("POST", "/runs/{run_id}/decisions", gates_api.create_decision, "results:read", Operation(
        "create_decision", "Apply a gate or an inline policy to a run", {200: Decision, 201: Decision},
        queries.WaitQuery, body=DecisionRequest, errors=("not_found", "conflict", "gone"),
        description="Responds with 201 if this request stored the decision, and with 200 if the newest decision of the"
        " gate about the run, or a waived one, has the same inputs. Storing requires the permission reports:create, and"
        " the key of a CI job stores only decisions about runs of its pipeline and branch. Otherwise, and for an inline"
        " policy without `record`, the decision is a dry run: 200, and its `id` is null. With `wait`, waits until the"
        " run is complete.",
    )),
    Route("GET", "/decisions", gates_api.list_decisions, "results:read", Operation(
        "list_decisions", "List decisions, newest first", page_of(Decision), DecisionQuery,
    )),
    Route("GET", "/decisions/{id}", gates_api.get_decision, "results:read", Operation(
        "get_decision", "Get a decision", {200: Decision}, errors=("not_found",),
    )),
    Route("POST", "/decisions/{id}/waiver", gates_api.waive_decision, "gates:manage", Operation(
        "waive_decision", "Let a blocked decision of a gate pass", {201: Decision}, body=WaiverIn,
        errors=("not_found", "conflict"),
    )),
)  # fmt: skip
_KEY_ROUTES: Final = (
    Route("GET", "/api-keys", keys_api.list_keys, "keys:manage", Operation(
        "list_keys", "List API keys, newest first", page_of(ApiKey), queries.PageQuery,
        description="Includes revoked keys.",
    )),
    Route("POST", "/api-keys", keys_api.create_key, "keys:manage", Operation(
        "create_key", "Create an API key", {201: ApiKeyWithSecret}, body=KeyRequest,
        description="Only this response contains the key.",
    )),
    Route("POST", "/api-keys/{id}/rotate", keys_api.rotate_key, "keys:manage", Operation(
        "rotate_key", "Replace the secret of an API key", {200: ApiKeyWithSecret}, errors=("not_found",),
        description="Only this response contains the new key. The previous one remains valid for 24 hours.",
    )),
    Route("DELETE", "/api-keys/{id}", keys_api.delete_key, "keys:manage", Operation(
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
