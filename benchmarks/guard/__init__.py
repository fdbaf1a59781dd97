"""The guard against slowdowns: short forms of the main benchmarks, and their comparison with committed ratios."""
