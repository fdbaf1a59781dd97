"""Models of all data that enters or leaves the process."""
