"""Rules without I/O, in plain Python without third-party packages."""
