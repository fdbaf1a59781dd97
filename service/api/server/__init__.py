"""API processes: sockets, connections, and metrics of several processes."""
