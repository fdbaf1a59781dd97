-- The number of changes of the stored cases of each organization. Ingest knows cases for one number.
ALTER TABLE organizations ADD COLUMN cases_version bigint NOT NULL DEFAULT 0;

-- What unreleased versions of the migrations 0015 and 0017 created: a trigger and a column of cases depend on the functions. On
-- Citus, one connection per worker executes all statements. On PostgreSQL, the parameter has no effect.
SET LOCAL citus.multi_shard_modify_mode TO 'sequential';
DROP FUNCTION IF EXISTS renew_case_versions() CASCADE;
DROP TABLE IF EXISTS case_versions;
DROP FUNCTION IF EXISTS case_members(bigint, text, jsonb, text, text, text) CASCADE;
