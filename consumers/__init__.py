"""Everything that takes messages: RabbitMQ consumers, the relay, upkeep. No HTTP but that of the metrics."""
