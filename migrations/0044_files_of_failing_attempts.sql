-- A failing result shows the file that its own report stated, because later runs can change the file of its case.
ALTER TABLE result_details ADD COLUMN file text;
