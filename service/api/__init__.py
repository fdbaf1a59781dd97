"""The HTTP edge: parses requests, asks a use case or the store, writes answers."""
