-- If an operator detached a partition, mark the runs of the month by organization, so that a statement uses one shard if
-- runs are distributed.

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
        EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
                       parent, child, low, high);
        IF parent = 'results' AND child <> base THEN
            FOR organization IN SELECT org_id FROM public.organizations LOOP
                UPDATE public.runs SET results_expired = true
                WHERE org_id = organization AND run_key >= low AND run_key < high AND NOT results_expired
                      AND passed + failed + error + skipped + canceled > 0;
            END LOOP;
        END IF;
    END LOOP;
END $$;
