"""The whole stack on one machine, started by one command; tests and benchmarks start its parts alone."""
