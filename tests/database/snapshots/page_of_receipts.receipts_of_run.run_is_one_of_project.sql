-- $1 org_id
-- $2 page
-- $3 run_id
-- $4 before
-- $5 event_id
-- $6 pipeline
-- $7 project_id

SELECT receipt_id, status, run_id, pipeline, part, shard, variant, source, event_id, results, replaced, replaced_failing, combined,
       CASE WHEN fits THEN problems END, received_at, publisher_id,
       (SELECT p.name FROM publishers p WHERE p.org_id = $1 AND p.publisher_id = sized.publisher_id) AS publisher_name, job, fits
FROM (
    SELECT listed.*, row_number() OVER newest_first <= $2::int AND
           sum(octet_length(problems::text)) OVER newest_first - octet_length(problems::text) < 4194304 AS fits
    FROM (
        SELECT receipt_id, status, run_id, pipeline, part, nullif(shard, 0) AS shard, variant, source, event_id, results, replaced,
               replaced_failing, combined, problems, received_at, publisher_id, job
        FROM receipts r
        WHERE org_id = $1 AND run_id = $3 AND receipt_id < $4
          AND ($3::text IS NULL OR run_id = $3) AND ($5::text IS NULL OR event_id = $5)
          AND ($6::text IS NULL OR pipeline = $6)
          AND -- The promotion of a run marks the reports that it names. The other ones are no longer part of the run. For example, a stranger
          -- has sent one to the same run that was rejected: a gate that waits for the reports of the run doesn't find it.
          (r.run_id IS NULL OR NOT starts_with(r.run_id, 'untrusted:') OR r.upload ? 'is_promoted' OR $5::text IS NOT NULL
           OR $3::text IS NOT NULL
              AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.org_id = $1 AND runs.run_id = $3 AND runs.trusted IS NOT FALSE))
          AND ($7::text IS NULL OR r.project_id = $7 OR r.project_id IS NULL AND r.run_id IN (SELECT run_id FROM runs WHERE runs.org_id = $1 AND runs.project_id = $7))
        ORDER BY receipt_id DESC LIMIT $2::int + 1
    ) listed
    WINDOW newest_first AS (ORDER BY receipt_id DESC)
) sized
ORDER BY receipt_id DESC;
