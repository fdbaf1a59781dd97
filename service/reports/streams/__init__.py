"""Streams of report files: XML, JSON, lines, compression, and their limits."""
