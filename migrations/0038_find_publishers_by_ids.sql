-- The publishers of an issuer whose IDs an authentic token has. Before the verification of a token, only whether a publisher
-- names its issuer is read, so that the cost of a forged token doesn't depend on the number of publishers.
DROP FUNCTION find_publishers(text);
CREATE FUNCTION find_publishers(requested_issuer text, identities jsonb[])
    RETURNS TABLE (org_id int, slug text, publisher_id text, provider text, claims jsonb, project_id text, role text, enabled bool)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT p.org_id, o.slug, p.publisher_id, p.provider, p.claims, p.project_id, p.role, p.enabled
    FROM public.publishers p JOIN public.organizations o ON o.org_id = p.org_id
    WHERE p.issuer = requested_issuer AND p.deleted_at IS NULL
      AND (p.provider = 'oidc' OR p.claims @> ANY (identities))
$$;
CREATE FUNCTION is_issuer_known(requested_issuer text) RETURNS bool
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM public.publishers p WHERE p.issuer = requested_issuer AND p.deleted_at IS NULL)
$$;
GRANT CREATE ON SCHEMA public TO results_keys;
ALTER FUNCTION find_publishers(text, jsonb[]) OWNER TO results_keys;
ALTER FUNCTION is_issuer_known(text) OWNER TO results_keys;
REVOKE CREATE ON SCHEMA public FROM results_keys;
REVOKE ALL ON FUNCTION find_publishers(text, jsonb[]), is_issuer_known(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_publishers(text, jsonb[]), is_issuer_known(text) TO results_api;
