-- The login of the API and the consumers. psql creates or changes it as the superuser. It has no privileges of its own:
-- `schema apply --grant-to results_service` lets it act as the database roles.
\set ON_ERROR_STOP on
\set password `cat /run/secrets/service_password`
SELECT :'password' = '' AS is_empty \gset
\if :is_empty
    DO 'BEGIN RAISE ''the file service_password is missing or empty''; END';
\endif
SELECT 'CREATE ROLE results_service' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'results_service') \gexec
ALTER ROLE results_service
    LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'password';
