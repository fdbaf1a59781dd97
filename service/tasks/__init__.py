"""Background tasks: leases, heartbeats, and the checks of workers."""
