-- name: page_by_id  (newest first, because an ID begins with its time; `next` is the last ID of a page with more rows after it)
SELECT '[' || coalesce(string_agg(item, ',' ORDER BY row_no) FILTER (WHERE fits), '') || ']' AS data,
       CASE WHEN count(*) > count(*) FILTER (WHERE fits) THEN min(id) FILTER (WHERE fits) END AS next
FROM (
    SELECT item, id, row_no, row_no <= :page::int
           AND sum(octet_length(item)) OVER (ORDER BY row_no) - octet_length(item) < {page_bytes} AS fits
    FROM (
        SELECT row_to_json(listed)::text AS item, listed.id, row_number() OVER (ORDER BY listed.id DESC) AS row_no
        FROM (
            {listed}
        ) listed
    ) numbered
) sized
