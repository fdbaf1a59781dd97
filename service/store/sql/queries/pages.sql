-- name: page_by_id  (newest first, because an ID begins with its time; `next` is the last ID of a page with more rows after it)
SELECT coalesce(json_agg(item ORDER BY row_no) FILTER (WHERE row_no <= :page::int), '[]')::text AS data,
       max(id) FILTER (WHERE row_no = :page::int AND row_count > :page::int) AS next
FROM (
    SELECT row_to_json(listed) AS item, listed.id, row_number() OVER (ORDER BY listed.id DESC) AS row_no,
           count(*) OVER () AS row_count
    FROM (
        {listed}
    ) listed
) numbered
