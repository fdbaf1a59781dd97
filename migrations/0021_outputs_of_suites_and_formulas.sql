-- The output of a suite, or of a TRX run, belongs to its run and not to results. The file with all output of the upload,
-- an artifact of the run, contains it.

DELETE FROM artifacts
WHERE case_key <> 0 AND byte_offset IS NOT NULL
  AND name ~ '^(report-)?(suite-system-(out|err)|run-(stdout|stderr|debug-trace|messages))\.txt$';

-- Formulas after a separator in a text, and formulas that start with a full-width character.

CREATE OR REPLACE FUNCTION spreadsheet_cell(value text, raw bool) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN raw OR value IS NULL OR value = ''
                  OR strpos(E'=+-@\uFF1D\uFF0B\uFF0D\uFF20\t\r\n', left(value, 1)) = 0 AND strpos(value, ';') = 0
                     AND strpos(value, E'\t') = 0 AND strpos(value, E'\n') = 0 AND strpos(value, E'\r') = 0 THEN value
                ELSE CASE WHEN value ~ E'^[-=+@\uFF1D\uFF0B\uFF0D\uFF20\t\r\n]' THEN '''' ELSE '' END
                     || regexp_replace(value, E'([;\t\r\n])(?=[-=+@\uFF1D\uFF0B\uFF0D\uFF20])', E'\\1''', 'g') END;
