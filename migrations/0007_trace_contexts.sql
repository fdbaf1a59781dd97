-- Trace contexts (W3C: traceparent and tracestate), so that a trace continues in jobs and webhooks. Null if tracing is off.

ALTER TABLE receipts ADD COLUMN trace_context jsonb;
ALTER TABLE events ADD COLUMN trace_context jsonb;
ALTER TABLE exports ADD COLUMN trace_context jsonb;
