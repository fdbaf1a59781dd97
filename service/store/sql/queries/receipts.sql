-- Receipts, as fragments (see results.sql).

-- name: page_of_receipts  (newest first; returns one row more than fits into the page, so that the caller knows that there are more)
SELECT receipt_id, status, run_id, pipeline, part, shard, variant, source, event_id, results, replaced, replaced_failing, combined,
       CASE WHEN fits THEN problems END, received_at, publisher_id,
       (SELECT p.name FROM publishers p WHERE p.org_id = :org_id AND p.publisher_id = sized.publisher_id) AS publisher_name, job, fits
FROM (
    SELECT listed.*, row_number() OVER newest_first <= :page::int AND
           sum(octet_length(problems::text)) OVER newest_first - octet_length(problems::text) < {page_bytes} AS fits
    FROM (
        SELECT receipt_id, status, run_id, pipeline, part, nullif(shard, 0) AS shard, variant, source, event_id, results, replaced,
               replaced_failing, combined, problems, received_at, publisher_id, job
        FROM receipts r
        WHERE org_id = :org_id AND {driver} AND receipt_id < :before
          AND (:run_id::text IS NULL OR run_id = :run_id) AND (:event_id::text IS NULL OR event_id = :event_id)
          AND (:pipeline::text IS NULL OR pipeline = :pipeline)
          AND ({names_its_run} OR {run_is_trusted})
          AND (:project_id::text IS NULL OR r.project_id = :project_id OR r.project_id IS NULL AND {run_is_of_project})
        ORDER BY receipt_id DESC LIMIT :page::int + 1
    ) listed
    WINDOW newest_first AS (ORDER BY receipt_id DESC)
) sized
ORDER BY receipt_id DESC

-- name: names_its_run  (whether the filter names the run or the event, so that it selects no others that claim the same pipeline)
:run_id::text IS NOT NULL OR :event_id::text IS NOT NULL

-- name: run_is_trusted  (of the receipt; only IDs with this prefix can belong to an untrusted run)
r.run_id IS NULL OR NOT starts_with(r.run_id, 'untrusted:') OR {run_is_promoted}

-- name: run_is_promoted  (the run of the receipt)
EXISTS (SELECT 1 FROM runs run WHERE run.org_id = :org_id AND run.run_id = r.run_id AND run.trusted IS NOT FALSE)

-- name: run_is_one_of_promoted  (if runs are distributed, each one can't be looked up for a receipt)
r.run_id IN (SELECT run_id FROM runs WHERE runs.org_id = :org_id AND starts_with(runs.run_id, 'untrusted:') AND runs.trusted IS NOT FALSE)

-- name: receipts_of_event
event_id = :event_id

-- name: receipts_of_run
run_id = :run_id

-- name: receipts_of_pipeline
pipeline = :pipeline

-- name: receipts_of_all
true

-- name: run_is_of_project  (of the run of the receipt)
EXISTS (SELECT 1 FROM runs WHERE runs.org_id = :org_id AND runs.run_id = r.run_id AND runs.project_id = :project_id)

-- name: run_is_one_of_project  (if runs are distributed, as run_is_one_of_promoted)
r.run_id IN (SELECT run_id FROM runs WHERE runs.org_id = :org_id AND runs.project_id = :project_id)
