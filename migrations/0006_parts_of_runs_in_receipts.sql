-- The shard and the variant of receipts.

ALTER TABLE receipts
    ADD COLUMN shard smallint NOT NULL DEFAULT 0,
    ADD COLUMN variant jsonb NOT NULL DEFAULT '{}';

-- Reports of pipelines that can be in progress: a rejected report is compared with later accepted ones. ALTER TABLE locks the
-- table until the end of the transaction, so the update reads only recent IDs (which start with the time) from the primary key.
UPDATE receipts r
SET shard = coalesce((upload -> 'run' ->> 'shard')::smallint, 0),
    variant = coalesce(nullif(upload -> 'run' -> 'variant', 'null'), '{}')
FROM organizations org
WHERE r.org_id = org.org_id
  AND r.receipt_id >= 'rcp_' || lpad(to_hex((extract(epoch FROM now() - interval '2 days') * 1000)::bigint), 12, '0')
  AND upload -> 'run' ?| ARRAY['shard', 'variant'];
