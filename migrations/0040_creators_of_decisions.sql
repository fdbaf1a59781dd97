-- Who requested a decision first. Null in decisions of earlier versions.
ALTER TABLE decisions ADD COLUMN created_by text;
