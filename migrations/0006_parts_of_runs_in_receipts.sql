-- The shard and the variant of receipts.

ALTER TABLE receipts
    ADD COLUMN shard smallint NOT NULL DEFAULT 0,
    ADD COLUMN variant jsonb NOT NULL DEFAULT '{}';

-- Reports of pipelines that are in progress. Only a rejected report is compared with later ones.
UPDATE receipts
SET shard = coalesce((upload -> 'run' ->> 'shard')::smallint, 0), variant = coalesce(upload -> 'run' -> 'variant', '{}')
WHERE status = 'rejected' AND upload -> 'run' ?| ARRAY['shard', 'variant'];
