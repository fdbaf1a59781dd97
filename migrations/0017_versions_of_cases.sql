-- The version of the cases of each organization, for which readers cache the JSON of cases.

CREATE TABLE case_versions (
    org_id  int PRIMARY KEY REFERENCES organizations,
    version uuid NOT NULL
);
ALTER TABLE case_versions ENABLE ROW LEVEL SECURITY;
CREATE POLICY same_organization ON case_versions TO results_api USING (org_id = current_org());
GRANT SELECT ON case_versions TO results_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON case_versions TO results_worker;

CREATE FUNCTION renew_case_versions() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    INSERT INTO public.case_versions (org_id, version)
    SELECT org_id, gen_random_uuid() FROM (SELECT DISTINCT org_id FROM changed) organization ORDER BY org_id
    ON CONFLICT (org_id) DO UPDATE SET version = excluded.version;
    RETURN NULL;
END $$;

-- Citus supports no triggers on distributed tables: consumers renew the versions there.
DO $$
DECLARE
    is_distributed bool := false;
BEGIN
    IF to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = $1)' INTO is_distributed USING 'public.cases'::regclass;
    END IF;
    IF NOT is_distributed THEN
        CREATE TRIGGER renew_case_versions AFTER UPDATE ON cases
            REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION renew_case_versions();
    END IF;
END $$;
