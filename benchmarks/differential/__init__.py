"""The differential run: random walks through the API of two revisions must find the same data."""
