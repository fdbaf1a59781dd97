-- The minutes of failure groups in an ordinary table instead of one partition per month, so that one index finds the first and
-- the last minute of a group in any number of months.

-- On Citus, one connection per worker executes all statements, because this migration also replaces a distributed function. On
-- PostgreSQL, the parameter has no effect.
SET LOCAL citus.multi_shard_modify_mode TO 'sequential';

-- Ingest of failures waits until the rows are copied. Readers wait only for the statements after the copy.
LOCK TABLE failure_group_minutes IN SHARE ROW EXCLUSIVE MODE;

-- The constraints and the index have the names that they would have without the change of the name of the table.
CREATE TABLE minutes_of_all_months (
    fingerprint bigint CONSTRAINT failure_group_minutes_fingerprint_not_null NOT NULL,
    org_id      int CONSTRAINT failure_group_minutes_org_id_not_null NOT NULL,
    minute      int CONSTRAINT failure_group_minutes_minute_not_null NOT NULL
);
INSERT INTO minutes_of_all_months (fingerprint, org_id, minute)
SELECT DISTINCT fingerprint, org_id, minute FROM failure_group_minutes;
CREATE INDEX minutes_of_all_months_by_group ON minutes_of_all_months (org_id, fingerprint, minute);

ALTER TABLE minutes_of_all_months ENABLE ROW LEVEL SECURITY;
CREATE POLICY same_organization ON minutes_of_all_months TO results_api USING (org_id = current_org());
GRANT SELECT ON minutes_of_all_months TO results_api;
GRANT SELECT, INSERT, DELETE ON minutes_of_all_months TO results_worker;

DROP TABLE failure_group_minutes;
ALTER TABLE minutes_of_all_months RENAME TO failure_group_minutes;
ALTER INDEX minutes_of_all_months_by_group RENAME TO failure_group_minutes_by_group;

-- Partitions whose removal by retention was interrupted: they are detached and marked.
DO $$
DECLARE
    partition regclass;
BEGIN
    FOR partition IN
        SELECT oid FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
              AND relname ~ '^failure_group_minutes_[0-9]{4}_[0-9]{2}(_[0-9]+)?$' AND obj_description(oid, 'pg_class') = 'expired'
    LOOP
        EXECUTE format('DROP TABLE %s', partition);
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION create_month_partitions(month date) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET lock_timeout = '2s'
    SET client_min_messages = warning
AS $$
DECLARE
    parent text;
    base   text;
    child  text;
    suffix int;
    organization int;
    low    uuid := first_run_key(date_trunc('month', month)::timestamp AT TIME ZONE 'UTC');
    high   uuid := first_run_key((date_trunc('month', month) + interval '1 month')::timestamp AT TIME ZONE 'UTC');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('create_month_partitions'));
    FOREACH parent IN ARRAY ARRAY['results', 'result_details', 'shard_results', 'artifacts'] LOOP
        base := parent || to_char(month, '_YYYY_MM');
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
            WHERE inhparent = ('public.' || parent)::regclass AND relname ~ ('^' || base || '(_[0-9]+)?$')
        );
        child := base;
        suffix := 2;
        WHILE to_regclass('public.' || child) IS NOT NULL LOOP
            child := base || '_' || suffix;
            suffix := suffix + 1;
        END LOOP;
        EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING ALL)', child, parent);
        EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', parent, child, low, high);
        IF parent = 'results' AND child <> base THEN
            FOR organization IN SELECT org_id FROM public.organizations LOOP
                UPDATE public.runs SET results_expired = true
                WHERE org_id = organization AND run_key >= low AND run_key < high AND NOT results_expired
                      AND passed + failed + error + skipped + canceled > 0;
            END LOOP;
        END IF;
    END LOOP;
END $$;
