"""Archives of reports and of the files that reports name."""
