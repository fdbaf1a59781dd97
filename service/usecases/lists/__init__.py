"""Pages of lists for a caller: the rows as JSON, limited to its project, and the cursor of the next page."""
