"""Encoders that convert rows from the store to the bytes of a file. They don't know where the bytes are stored."""
