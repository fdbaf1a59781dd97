-- Keys that CI jobs receive for their ID tokens, and the jobs that uploads and changes come from. The tables are altered
-- without reading their rows, and the indexes contain none of the existing rows.
ALTER TABLE api_keys ADD COLUMN publisher_id text, ADD COLUMN token_sha256 bytea, ADD COLUMN job jsonb;
CREATE INDEX api_keys_by_token ON api_keys (org_id, token_sha256) WHERE token_sha256 IS NOT NULL;
CREATE INDEX api_keys_by_publisher ON api_keys (org_id, publisher_id) WHERE publisher_id IS NOT NULL;
CREATE INDEX api_keys_of_publishers_by_expiry ON api_keys (expires_at) WHERE publisher_id IS NOT NULL;

ALTER TABLE receipts ADD COLUMN publisher_id text, ADD COLUMN job text;
ALTER TABLE audit_trail ADD COLUMN job text;

-- Processes of version 0.9 continue to use find_key. They don't enforce the claims of CI jobs, and therefore get no key of
-- a publisher.
CREATE OR REPLACE FUNCTION find_key(requested_key_id text)
    RETURNS TABLE (org_id int, role text, project_id text, secret_sha256 bytea, previous_sha256 bytea,
                   previous_expires_at timestamptz, expires_at timestamptz, revoked_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT k.org_id, k.role, k.project_id, k.secret_sha256, k.previous_sha256,
           k.previous_expires_at, k.expires_at, k.revoked_at
    FROM public.api_keys k WHERE k.key_id = requested_key_id AND k.publisher_id IS NULL
$$;

-- Find a key, also one of a publisher, before the organization is known. The function can read only api_keys.
CREATE FUNCTION find_stored_key(requested_key_id text)
    RETURNS TABLE (org_id int, role text, project_id text, secret_sha256 bytea, previous_sha256 bytea,
                   previous_expires_at timestamptz, expires_at timestamptz, revoked_at timestamptz, job jsonb)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT k.org_id, k.role, k.project_id, k.secret_sha256, k.previous_sha256,
           k.previous_expires_at, k.expires_at, k.revoked_at, k.job
    FROM public.api_keys k WHERE k.key_id = requested_key_id
$$;
GRANT CREATE ON SCHEMA public TO results_keys; -- required to become the owner of the function
ALTER FUNCTION find_stored_key(text) OWNER TO results_keys;
REVOKE CREATE ON SCHEMA public FROM results_keys;
REVOKE ALL ON FUNCTION find_stored_key(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_stored_key(text) TO results_api;
