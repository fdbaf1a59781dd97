-- The JSON of each case in the results of a list, stored instead of computed for each page. The table is rewritten.

-- The members of a case in the public object of a result: from the digits of `case` until the value of `status`. to_json() is
-- STABLE because of other types: the JSON of a text depends on no setting.
CREATE FUNCTION case_members(case_key bigint, case_id text, variant jsonb, suite text, name text, file text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN encode(int8send(case_key), 'hex') || '","case_id":' || coalesce(to_json(case_id)::text, 'null')
         || ',"variant":' || variant || ',"suite":' || to_json(suite) || ',"name":' || to_json(name)
         || ',"file":' || coalesce(to_json(file)::text, 'null') || ',"status":"';

ALTER TABLE cases ADD COLUMN
    members text NOT NULL GENERATED ALWAYS AS (case_members(case_key, case_id, variant, suite, name, file)) STORED;
