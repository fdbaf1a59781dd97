-- Changes nothing. The table that this migration created is replaced by a column of organizations (0023).
SELECT;
