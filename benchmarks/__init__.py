"""Benchmarks of the running service. Each compares its result with a limit that it measures in the same run."""
