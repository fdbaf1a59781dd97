-- The minutes of completion in which a failure group has results, and the index that finds these results, instead of an
-- index of each failing result by its fingerprint. The next migration drops the previous indexes: it locks the table
-- completely, but only briefly.

-- The minute in which a run completed, since 1970. Must match service/domain/ids.py.
CREATE FUNCTION completion_minute(run_key uuid) RETURNS int
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN least(('x' || translate(left(run_key::text, 13), '-', ''))::bit(48)::bigint / 60000, 2147483647)::int;

-- The smallest run_key of the runs that completed in a minute.
CREATE FUNCTION first_run_key_of_minute(minute int) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
    RETURN (lpad(to_hex(minute::bigint * 60000), 12, '0') || repeat('0', 20))::uuid;

-- The minutes of completion in which a failure group has results: only such a minute can contain results of the group.
-- The rows stay if these results are deleted, and several processes can insert the same row, so no key is unique.
CREATE TABLE failure_group_minutes (
    fingerprint bigint NOT NULL,
    org_id      int NOT NULL,
    minute      int NOT NULL             -- completion_minute() of the runs
) PARTITION BY RANGE (minute);
CREATE INDEX failure_group_minutes_by_group ON failure_group_minutes (org_id, fingerprint, minute);

ALTER TABLE failure_group_minutes ENABLE ROW LEVEL SECURITY;
CREATE POLICY same_organization ON failure_group_minutes TO results_api USING (org_id = current_org());
GRANT SELECT ON failure_group_minutes TO results_api;
GRANT SELECT, INSERT, DELETE ON failure_group_minutes TO results_worker;
ALTER TABLE failure_group_minutes OWNER TO results_owner;

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
    bounds text;
    low    uuid := first_run_key(date_trunc('month', month)::timestamp AT TIME ZONE 'UTC');
    high   uuid := first_run_key((date_trunc('month', month) + interval '1 month')::timestamp AT TIME ZONE 'UTC');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('create_month_partitions'));
    FOREACH parent IN ARRAY ARRAY['results', 'result_details', 'failure_group_minutes', 'shard_results', 'artifacts'] LOOP
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
        bounds := CASE parent WHEN 'failure_group_minutes'
                  THEN format('FROM (%s) TO (%s)', completion_minute(low), completion_minute(high))
                  ELSE format('FROM (%L) TO (%L)', low, high) END;
        EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES ', parent, child) || bounds;
        IF parent = 'results' AND child <> base THEN
            FOR organization IN SELECT org_id FROM public.organizations LOOP
                UPDATE public.runs SET results_expired = true
                WHERE org_id = organization AND run_key >= low AND run_key < high AND NOT results_expired
                      AND passed + failed + error + skipped + canceled > 0;
            END LOOP;
        END IF;
    END LOOP;
END $$;

DO $$
DECLARE
    month date;
    child text;
BEGIN
    FOR month IN
        SELECT DISTINCT to_date(substring(relname FROM '_([0-9]{4}_[0-9]{2})'), 'YYYY_MM')
        FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid WHERE inhparent = 'public.result_details'::regclass
    LOOP
        child := to_char(month, '"failure_group_minutes"_YYYY_MM');
        EXECUTE format('CREATE TABLE public.%I PARTITION OF public.failure_group_minutes FOR VALUES FROM (%s) TO (%s)', child,
                       extract(epoch FROM month::timestamp) / 60, extract(epoch FROM month + interval '1 month') / 60);
        EXECUTE format('ALTER TABLE public.%I OWNER TO results_owner', child);
    END LOOP;
END $$;

-- The index is first, because ingest waits for it: no failure can be stored between the two statements.
ALTER INDEX result_details_by_status RENAME TO result_details_by_status_without_fingerprint;
CREATE INDEX result_details_by_status ON result_details (org_id, status, run_key, case_key, fingerprint)
    WHERE is_last_attempt AND status <> 'p';
INSERT INTO failure_group_minutes (org_id, fingerprint, minute)
SELECT DISTINCT org_id, fingerprint, completion_minute(run_key) FROM result_details WHERE fingerprint IS NOT NULL;
