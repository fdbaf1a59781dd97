-- The parts of runs with the attempts of their jobs, and the closing of a run apart from its expectations.

CREATE TABLE run_parts (
    org_id      int NOT NULL,
    run_key     uuid NOT NULL,
    attempt     bigint NOT NULL,
    number      smallint NOT NULL,
    shard       smallint NOT NULL,
    has_results bool NOT NULL,
    name        text NOT NULL,
    variant     jsonb NOT NULL,
    PRIMARY KEY (org_id, run_key, number)
);
ALTER TABLE run_parts ENABLE ROW LEVEL SECURITY;
CREATE POLICY same_organization ON run_parts TO results_api USING (org_id = current_org());
GRANT SELECT, DELETE ON run_parts TO results_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON run_parts TO results_worker;

ALTER TABLE result_details ADD COLUMN shard smallint NOT NULL DEFAULT 0;
ALTER TABLE receipts ADD COLUMN part text;

-- Null in rows of the previous version, whose processes continue to insert runs.
ALTER TABLE runs ADD COLUMN closed bool, ADD COLUMN sent_at_once bool, ADD COLUMN has_been_complete bool;
GRANT UPDATE (closed, has_been_complete) ON runs TO results_api;
