"""Trusted publishers: CI jobs that exchange an ID token for a key."""
