"""Turns rows, as the store streams them, into the bytes of a file. Where the bytes go is not known here."""
