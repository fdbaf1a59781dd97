"""API processes: sockets, resources, rate-limit counters, and metrics of the backlog."""
