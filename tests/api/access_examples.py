"""An example request of each operation, and what callers outside of its organization or project get.

Texts such as `{run}` stand for the ID of an object. The matrix fills in the objects of the project, or IDs that don't
exist. A new operation needs an example here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from service.identity.publishers.token_exchanges import GRANT_TYPE

Scope = Literal["organization", "project", "other project", "other organization"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
# done: the request acts on what the caller can see, which contains none of the objects if the scope is another one.
# shared: like done, with objects of the whole organization.
# refused: the body names an unknown object, or has the form of an operation that needs something else than a key.
Outcome = Literal["done", "shared", "absent", "forbidden", "unauthorized", "refused"]
Outcomes = Mapping[Scope, Outcome]


@dataclass(frozen=True)
class Example:
    """A request. `outcomes` are those that differ from the default of `outcome_of`.

    `fresh` names objects that the request ends, so that each permitted request needs new ones.
    """

    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    file: bytes | None = None
    form: Mapping[str, str] | None = None
    fresh: tuple[str, ...] = ()
    outcomes: Outcomes = field(default_factory=dict)

    def outcome_of(self, scope: Scope) -> Outcome:
        """Return the outcome for a role with the permissions. By default, objects of another scope don't exist."""
        is_foreign = self.path and scope not in ("organization", "project")
        return self.outcomes.get(scope, "absent" if is_foreign else "done")


_OTHERS_WRITE_THEIRS: Final[Outcomes] = {"other project": "forbidden", "other organization": "done"}
_OTHERS_READ_THEIRS: Final[Outcomes] = {"other project": "done", "other organization": "done"}
# Gates belong to the organization: keys of a project only read them.
_READ_OF_GATE: Final[Outcomes] = {"other project": "shared"}
_WRITE_OF_GATE: Final[Outcomes] = {"project": "forbidden", "other project": "forbidden"}
# A position is one of the organization: an export of one project ends at the newest event of all projects.
_POSITION: Final[Outcomes] = {"other project": "shared", "other organization": "absent"}

COMMIT: Final = "0" * 40  # of the runs
_RUN: Final = {"run_id": "{run}"}
_OWN_RUN: Final = {"run_id": "{own_run}"}
_POLICY: Final = {"max_failures": 0}
_PROJECT: Final = {"project_id": "{project}"}
TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:jwt"
_REPORT: Final = b'<testsuite name="s"><testcase name="passes"/></testsuite>'


def _of(name: str, **fields: Any) -> Example:
    return Example({"id": f"{{{name}}}"}, **fields)


_DELIVERY: Final = {"id": "{webhook}", "delivery_id": "{delivery}"}

# Operations that read come first, so that lists contain no object of another example.
EXAMPLES: Final[Mapping[str, tuple[Example, ...]]] = {
    "list_results": (
        Example(),
        Example(query={"run_id": "{run}", "project_id": "{project}", "case": "{case}"}),
        Example(query={"fingerprint": "{failure}", "project_id": "{project}"}),
        Example(query={"run_id": "{run}", "sort": "suite"}),
    ),
    "get_result": (_of("result"),),
    "list_artifacts": (_of("result"),),
    "download_artifact": (_of("artifact"),),
    "list_exports": (Example(),),
    "get_export": (_of("export"),),
    "download_export": (_of("export"),),
    "list_runs": (Example(), Example(query=_PROJECT)),
    "get_run": (Example(_RUN),),
    "compare_run": (
        Example(_RUN),
        Example(_OWN_RUN, {"baseline": "run:{run}"}),
    ),
    "list_run_artifacts": (
        Example(_RUN),
        Example(_OWN_RUN, {"receipt_id": "{receipt}"}, outcomes=_OTHERS_READ_THEIRS),
    ),
    "list_receipts": (Example(), Example(query=_RUN)),
    "get_receipt": (_of("receipt"),),
    "list_cases": (
        Example(query=_PROJECT),
        Example(query=_PROJECT | {"sort": "flaky"}),
    ),
    "list_owners": (Example(query=_PROJECT),),
    "get_case": (_of("case"),),
    "list_case_history": (_of("case"),),
    "get_costs": (Example(query={"group_by": "project"}), Example(query=_PROJECT)),
    "get_stats": (Example(query={"from": "2026-05-01", "to": "2026-06-01"}), Example(query=_PROJECT)),
    "list_projects": (Example(),),
    "get_project": (Example(_PROJECT),),
    "backtest_project": (Example(_PROJECT),),
    "list_past_states": (Example(_PROJECT),),
    "list_events": (
        Example(),
        Example(query=_RUN),
        Example(query={"after": "{event}"}, outcomes=_POSITION),
    ),
    "stream_events": (
        Example(),
        Example(query=_RUN),
        Example(query={"after": "{event}"}, outcomes=_POSITION),
    ),
    "list_webhooks": (Example(),),
    "get_webhook": (_of("webhook"),),
    "get_webhook_recovery": (
        Example({"id": "{webhook}", "recovery_id": "{recovery}"}),
        Example({"id": "{own_webhook}", "recovery_id": "{recovery}"}),
    ),
    "list_webhook_deliveries": (_of("webhook"),),
    "list_keys": (Example(),),
    "list_members": (Example(),),
    "get_member": (_of("member"),),
    "list_publishers": (Example(),),
    "get_publisher": (_of("publisher"),),
    "list_token_exchanges": (Example(), Example(query={"publisher_id": "{publisher}"})),
    "list_quarantines": (Example(), Example(query={"case": "{case}"}), Example(query=_PROJECT)),
    "get_quarantine": (_of("quarantine"),),
    "get_split": (Example({"key": "{split}"}, _PROJECT),),
    "list_splits_of_run": (Example(_RUN),),
    "list_gates": (Example(outcomes=_READ_OF_GATE),),
    "get_gate": (Example({"name": "{gate}"}, outcomes=_READ_OF_GATE),),
    "list_decisions": (Example(), Example(query={"run_id": "{run}", "gate": "{gate}"})),
    "get_decision": (_of("decision"),),
    "list_failures": (Example(query=_PROJECT), Example(query=_RUN)),
    "get_failure": (_of("failure"),),
    "get_health": (Example(),),
    "get_readiness": (Example(),),
    "get_metrics": (Example(),),
    "get_openapi_document": (Example(),),
    "get_documentation_page": (Example(),),
    "get_documentation_asset": (Example({"name": "start.js"}),),
    "download_client": (Example(),),
    "get_client_sha256": (Example(),),
    "download_client_version": (Example({"version": "{version}"}),),
    "get_client_version_sha256": (Example({"version": "{version}"}),),
    # Operations that change something
    "upload_artifact": (Example({"id": "{result}", "name": "log.txt"}, file=b"log"),),
    "upload_run_artifact": (
        Example(_RUN | {"file_name": "log.txt"}, file=b"log"),
        Example(_OWN_RUN | {"file_name": "log.txt"}, {"case": "{case}"}, file=b"log"),
    ),
    "upload_report": (Example(_RUN, _PROJECT, file=_REPORT, outcomes=_OTHERS_WRITE_THEIRS),),
    "complete_run": (Example(_RUN),),
    "promote_run": (Example(_RUN, body={"commit_sha": COMMIT, "receipts": ["{receipt}"]}),),
    "pin_run": (Example(_RUN),),
    "unpin_run": (Example(_RUN),),
    "delete_run": (Example(_RUN, fresh=("run",)),),
    "create_export": (
        Example(body={"format": "csv", "filter": {"run_id": "{run}"}}),
        Example(
            body={"format": "csv", "filter": _PROJECT},
            outcomes={"other project": "forbidden", "other organization": "refused"},
        ),
    ),
    "delete_export": (_of("export", fresh=("export",)),),
    "exchange_token": (
        Example(
            form={"grant_type": GRANT_TYPE, "subject_token": "a.b.c", "subject_token_type": TOKEN_TYPE},
            outcomes=dict.fromkeys(SCOPES, "refused"),
        ),
    ),
    "create_webhook": (
        Example(body={"url": "https://ci.example/hook"} | _PROJECT, outcomes=_OTHERS_WRITE_THEIRS),
    ),
    "update_webhook": (_of("webhook", body={"description": "new"}),),
    "test_webhook": (_of("webhook"),),
    "rotate_webhook_secret": (_of("webhook"),),
    "recover_webhook": (_of("webhook", body={"since": "2026-05-20"}),),
    "redeliver_webhook_event": (
        Example(_DELIVERY),
        Example(_DELIVERY | {"id": "{own_webhook}"}),
    ),
    "delete_webhook": (_of("webhook", fresh=("webhook",)),),
    "create_publisher": (
        Example(
            body={"provider": "oidc", "issuer": "https://ci.example", "claims": {"repository": 7}} | _PROJECT,
            outcomes=_OTHERS_WRITE_THEIRS,
        ),
    ),
    "update_publisher": (_of("publisher", body={"name": "new"}),),
    "delete_publisher": (_of("publisher", fresh=("publisher",)),),
    "create_quarantine": (
        Example(body={"name": "pays*", "reason": "outage"} | _PROJECT, outcomes=_OTHERS_WRITE_THEIRS),
        Example(
            body={"case": "{case}", "reason": "outage"},
            outcomes={"other project": "absent", "other organization": "absent"},
        ),
    ),
    "update_quarantine": (_of("quarantine", body={"reason": "new"}),),
    "delete_quarantine": (_of("quarantine", fresh=("quarantine",)),),
    "update_failure": (_of("failure", body={"ticket_url": "https://tickets.example/1"}),),
    "delete_gate": (Example({"name": "{gate}"}, fresh=("gate",), outcomes=_WRITE_OF_GATE),),
    "put_gate": (  # after delete_gate: it creates a gate of this name in the other organization
        Example(
            {"name": "{gate}"}, body={"policy": _POLICY}, outcomes={**_WRITE_OF_GATE, "other organization": "done"}
        ),
    ),
    "put_split": (
        Example({"key": "unit"}, body={"items": ["a"], "total": 1} | _PROJECT, outcomes=_OTHERS_WRITE_THEIRS),
    ),
    "create_decision": (
        Example(_RUN, body={"gate": "{gate}"}),
        Example(_RUN, body={"policy": _POLICY}),
        Example(_RUN, body={"policy": _POLICY, "record": True}),
    ),
    "create_excuse": (Example(_RUN, body={"receipts": ["{receipt}"]}),),
    "waive_decision": (_of("decision", body={"reason": "outage"}, fresh=("decision",)),),
    "create_key": (
        Example(body={"name": "CI", "role": "uploader"} | _PROJECT, outcomes=_OTHERS_WRITE_THEIRS),
    ),
    "rotate_key": (_of("key"),),
    "delete_key": (_of("key", fresh=("key",)),),
    "create_member": (  # of the project of the caller, or of all projects
        Example(body={"email": "{run}@example.org", "role": "viewer"}, outcomes=_OTHERS_READ_THEIRS),
    ),
    "update_member": (_of("member", body={"role": "engineer"}),),
    "delete_member": (_of("member", fresh=("member",)),),
    "update_project": (Example(_PROJECT, body={"default_branch": "trunk"}),),
    "delete_project": (Example(_PROJECT, {"confirm": "{project}"}),),
}  # fmt: skip
