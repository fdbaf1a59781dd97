-- The report that names a file of a result, so that its client uploads exactly this file. Null in rows of earlier versions.
ALTER TABLE artifacts ADD COLUMN receipt_id text;

-- The files that each key has uploaded on a day in UTC, for the limits per key and day.
CREATE TABLE artifact_usage (
    org_id int NOT NULL REFERENCES organizations,
    key_id text NOT NULL,                    -- key_…
    day    date NOT NULL,
    files  int NOT NULL,
    bytes  bigint NOT NULL,
    PRIMARY KEY (org_id, key_id, day)
);
CREATE INDEX artifact_usage_by_day ON artifact_usage (day);

ALTER TABLE artifact_usage ENABLE ROW LEVEL SECURITY;
CREATE POLICY same_organization ON artifact_usage TO results_api USING (org_id = current_org());
GRANT SELECT, INSERT, UPDATE ON artifact_usage TO results_api;
GRANT SELECT, DELETE ON artifact_usage TO results_worker;
