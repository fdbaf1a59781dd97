"""Every statement names the organization of each distributed table as one value, so that Citus uses one shard."""

from typing import Final

import pytest

from service.database.engines import CITUS, DISTRIBUTED_TABLES
from service.database.statements import statements, subjects
from service.exports.model import EXPORT_FORMATS
from tests.database.composed import REQUESTED, all_composed, receipt_pages
from tests.database.shard_keys import reads_both, tables_of_any_shard

# Statements that use several shards, with the reason.
ACROSS_SHARDS: Final = {
    "cases.insert_unseen": "inserts the rows of a batch; each row goes to its shard",
    "cases.insert_hidden": "inserts the rows of a batch; each row goes to its shard",
    "cases.insert_promoted": "inserts the rows of a batch; each row goes to its shard",
    "projects.insert_unseen": "inserts the rows of a batch; each row goes to its shard",
    "results.insert_references": "inserts the rows of a batch; each row goes to its shard",
    "runs.insert_parts": "inserts the rows of a batch; each row goes to its shard",
    "runs.insert_new": "inserts the rows of a batch; each row goes to its shard",
    "retention.find_requested": "upkeep deletes projects of all organizations",
    "retention.find_expired": "upkeep deletes runs of all organizations",
    "database.find_files": "upkeep reads the files of all organizations",
}

# Statements that use both workers and the coordinator, with the reason.
BOTH: Final = {
    "retention.delete_artifacts_of_run": "deletes the artifacts of one run and requests the deletion of their files",
    "retention.expire_exports": "updates the exports of one run",
    "retention.delete_project": "deletes one project with its digests",
    "digests.find_due": "reads the webhooks of one organization that name digests",
    "digests.read_digest": "counts the events of one project in two weeks",
    "exports.delete_artifact": "deletes one artifact",
    "receipts.find_one": "reads one receipt",
    "committed_cases": "reads the versions of the organizations of a batch",
    "committed_cases.one_organization": "reads the version of one organization",
    "one_run": "reads one run",
    "one_result": "reads one result",
    **dict.fromkeys((page.name for page in receipt_pages() | receipt_pages(**CITUS.run_of_receipt)), "reads one page"),
} | dict.fromkeys(
    ("changed_run_keys", "export_changed_runs", *(f"export_runs_{name}" for name in EXPORT_FORMATS)),
    "an export also contains the deleted runs",
)


def test_every_statement_names_one_organization() -> None:
    texts = {f"{subject}.{name}": text for subject in subjects() for name, text in statements(subject).items()}
    # On Citus, a statement about the rows of several organizations is executed once for each organization.
    texts |= {name: statement.text for name, statement in all_composed().items() if name not in REQUESTED}
    found = {name for name, text in texts.items() if tables_of_any_shard(text, DISTRIBUTED_TABLES)}
    assert found == ACROSS_SHARDS.keys()


def test_lists_read_tables_of_workers_only() -> None:
    texts = {f"{subject}.{name}": text for subject in subjects() for name, text in statements(subject).items()}
    texts |= {name: statement.text for name, statement in all_composed().items()}
    assert {name for name, text in texts.items() if reads_both(text, DISTRIBUTED_TABLES)} == BOTH.keys()


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT (SELECT slug FROM organizations WHERE org_id = $1) FROM runs WHERE org_id = $1", True),
        ("SELECT 1 FROM organizations o JOIN runs r ON r.org_id = $1", True),
        ("WITH run AS (SELECT 1 FROM runs) SELECT 1 FROM run, webhooks", True),
        ("SELECT 1 FROM organizations, receipts", False),
        ("WITH run AS (SELECT 1 FROM runs) SELECT 1 FROM run, cases", False),
        ("SELECT 1 FROM unnest($1::int[]) x (id), runs run FOR UPDATE OF run", False),
    ],
)  # fmt: skip
def test_the_check_finds_statements_about_workers_and_the_coordinator(sql: str, expected: bool) -> None:
    assert reads_both(sql, DISTRIBUTED_TABLES) is expected


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("SELECT 1 FROM runs WHERE run_id = $1", {"runs"}),
        ("SELECT 1 FROM runs WHERE org_id = ANY ($1)", {"runs"}),
        ("SELECT 1 FROM runs WHERE org_id = $1 OR run_id = $2", {"runs"}),
        ("SELECT 1 FROM runs WHERE org_id > $1", {"runs"}),
        ("SELECT 1 FROM runs r JOIN cases c USING (org_id) WHERE r.org_id = $1", {"cases"}),
        ("SELECT 1 FROM runs r JOIN cases c ON c.org_id = r.org_id WHERE r.org_id = $1", {"cases"}),
        ("SELECT 1 FROM unnest($1::int[]) o (org_id) JOIN runs r ON r.org_id = o.org_id", {"runs"}),
        ("SELECT 1 FROM organizations o, LATERAL (SELECT 1 FROM runs WHERE org_id = o.org_id) r", {"runs"}),
        ("SELECT 1 FROM receipts WHERE org_id = $1 AND EXISTS (SELECT 1 FROM runs WHERE run_id = $2)", {"runs"}),
        ("WITH c AS (SELECT 1 FROM cases) SELECT 1 FROM runs, c WHERE org_id = $1", {"cases"}),
        ("UPDATE runs SET org_id = $1 WHERE run_key = $2", {"runs"}),
        ("UPDATE runs SET pinned = true FROM organizations o WHERE runs.org_id = o.org_id", {"runs"}),
        ("DELETE FROM runs WHERE run_key = $1", {"runs"}),
        ("DELETE FROM cases USING runs WHERE cases.org_id = $1 AND runs.run_id = $2", {"runs"}),
        ("INSERT INTO runs (run_key) VALUES ($1)", {"runs"}),
        ("INSERT INTO runs SELECT * FROM json_populate_recordset(NULL::runs, $1)", {"runs"}),
        ("INSERT INTO runs (org_id) SELECT org_id FROM unnest($1::int[]) new (org_id)", {"runs"}),
        ("INSERT INTO receipts (org_id) SELECT org_id FROM runs", {"runs"}),
        ("INSERT INTO cases (org_id) SELECT $1::int FROM runs WHERE org_id = $1", {"cases"}),
        ("INSERT INTO cases (org_id) SELECT org_id FROM runs WHERE org_id = $1", set()),
        ("SELECT 1 FROM runs r LEFT JOIN cases c ON c.org_id = $1 WHERE $1::int = r.org_id", set()),
        ("SELECT 1 FROM unnest($2::text[]) x (id) JOIN runs r ON r.org_id = $1::int AND r.run_id = x.id", set()),
        ("UPDATE runs SET pinned = true FROM cases c WHERE runs.org_id = $1 AND c.org_id = $1", set()),
        ("INSERT INTO runs (org_id, run_key) VALUES ($1, $2)", set()),
        ("INSERT INTO runs (run_key, org_id) SELECT key, $1::int FROM unnest($2::uuid[]) key", set()),
        ("SELECT 1 FROM receipts WHERE receipt_id = $1", set()),
    ],
)  # fmt: skip
def test_the_check_finds_each_table_of_any_shard(sql: str, tables: set[str]) -> None:
    assert tables_of_any_shard(sql, DISTRIBUTED_TABLES) == tables
