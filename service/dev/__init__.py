"""The local stack: all servers and processes on one machine; tests and benchmarks start single components of it."""
