"""Consumer processes: RabbitMQ consumers, the relay, and upkeep. Their only HTTP endpoint is /metrics."""
