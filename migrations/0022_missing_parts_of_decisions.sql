-- Null in decisions of earlier versions, which didn't check whether parts are missing.
ALTER TABLE decisions ADD COLUMN missing jsonb;
