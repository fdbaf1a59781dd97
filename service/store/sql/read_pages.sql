-- name: page_by_id  (newest first: an id begins with its time; `next` is the last of the page, where more follow)
SELECT coalesce(json_agg(item ORDER BY nth) FILTER (WHERE nth <= :page::int), '[]')::text AS data,
       max(id) FILTER (WHERE nth = :page::int AND listed > :page::int) AS next
FROM (
    SELECT row_to_json(one) AS item, one.id, row_number() OVER (ORDER BY one.id DESC) AS nth, count(*) OVER () AS listed
    FROM ({listed}) one
) numbered
