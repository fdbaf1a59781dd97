"""Tracing with OpenTelemetry: `spans` for all layers, and `sdk`, which exports the spans of a process."""
