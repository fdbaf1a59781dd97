-- $1 org_id
-- $2 case_id
-- $3 project_id
-- $4 suite
-- $5 variants
-- $6 words
-- $7 trusted

SELECT c.project_id, c.case_id, c.case_key FROM cases c
WHERE c.org_id = $1 AND c.case_id = $2 AND ($3::text IS NULL OR c.project_id = $3)
  AND ($4::text IS NULL OR c.suite = $4::text)
  AND ($5::text[] IS NULL OR c.variant @> ALL ($5::text[]::jsonb[]))
  AND ($6::text[] IS NULL OR NOT EXISTS (
      SELECT 1 FROM unnest($6::text[]) AS word WHERE strpos(lower(c.suite || E'\n' || c.name), lower(word)) = 0)) AND ($7::bool IS NOT TRUE OR c.trusted)
LIMIT 2;
