"""Statistics about runs: buckets of time, and the health page of a project."""
