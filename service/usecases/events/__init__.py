"""Number events and follow the event stream."""
