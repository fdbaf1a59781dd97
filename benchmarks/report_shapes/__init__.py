"""Reports of each format for benchmarks.reports: a writer, and a bare loop of the parser."""
