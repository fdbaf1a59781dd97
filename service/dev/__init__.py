"""The local stack in one command: PostgreSQL, RabbitMQ, a supervisor and first data."""
