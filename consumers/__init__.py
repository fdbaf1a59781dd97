"""Everything that takes messages: RabbitMQ consumers, the relay, upkeep. No HTTP server lives here."""
