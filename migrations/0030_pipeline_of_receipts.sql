-- The pipeline that an event or upload states. Receipts that an earlier version stored have none.
ALTER TABLE receipts ADD COLUMN pipeline text;
