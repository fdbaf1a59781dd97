-- The output of a suite, or of a TRX run, belongs to its run and not to results. The file with all output of the upload,
-- an artifact of the run, contains it.

DELETE FROM artifacts
WHERE case_key <> 0 AND byte_offset IS NOT NULL
  AND name ~ '^(report-)?(suite-system-(out|err)|run-(stdout|stderr|debug-trace|messages))\.txt$';
