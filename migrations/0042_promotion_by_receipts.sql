-- A promotion names the receipts of the reports that belong to the run, and the workers store these reports again. Processes of
-- an earlier version can't promote anymore: they would make everything trusted that strangers have added to the run.
ALTER TABLE runs ADD COLUMN awaited_receipts text[];
ALTER TABLE cases ADD COLUMN promoted bool;
REVOKE UPDATE (trusted, pull_request, base_branch, field_versions) ON runs FROM results_api;
REVOKE UPDATE (trusted, expires_on) ON cases FROM results_api;
REVOKE INSERT ON failure_group_minutes FROM results_api;
GRANT INSERT ON runs TO results_api;
-- Lists contain only these receipts of promoted runs.
DO $$
DECLARE
    known record;
BEGIN
    FOR known IN
        SELECT DISTINCT org_id, run_id FROM receipts
        WHERE starts_with(run_id, 'untrusted:') AND upload IS NOT NULL AND status IN ('stored', 'partial')
    LOOP
        PERFORM FROM runs WHERE org_id = known.org_id AND run_id = known.run_id AND trusted;
        IF FOUND THEN
            UPDATE receipts SET upload = upload || '{"is_promoted": true}'
            WHERE org_id = known.org_id AND run_id = known.run_id AND upload IS NOT NULL AND status IN ('stored', 'partial');
        END IF;
    END LOOP;
END $$;
