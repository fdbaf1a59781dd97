"""The commands that users run against a server over HTTP.

This package and its imports run on Python 3.10 and are pure Python, so that they fit into one file (see archive.py).
"""
