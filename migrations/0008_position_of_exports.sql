-- The position in the event stream after which changes can be missing in the file of an export.

ALTER TABLE exports ADD COLUMN position text;
