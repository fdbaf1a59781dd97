-- For all lists, which omit the few runs and cases that aren't trusted. In their own transaction, so that requests can read
-- runs and cases meanwhile.
CREATE INDEX runs_untrusted ON runs (org_id, run_key) WHERE NOT trusted;
CREATE INDEX cases_untrusted ON cases (org_id, case_key) WHERE NOT trusted;
