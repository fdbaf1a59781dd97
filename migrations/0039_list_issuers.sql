-- The issuers of all enabled publishers. A process reads them once a minute instead of one for each token of a stranger.
CREATE FUNCTION list_issuers() RETURNS TABLE (issuer text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT DISTINCT p.issuer FROM public.publishers p WHERE p.enabled AND p.deleted_at IS NULL
$$;
GRANT CREATE ON SCHEMA public TO results_keys;
ALTER FUNCTION list_issuers() OWNER TO results_keys;
REVOKE CREATE ON SCHEMA public FROM results_keys;
REVOKE ALL ON FUNCTION list_issuers() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION list_issuers() TO results_api;
