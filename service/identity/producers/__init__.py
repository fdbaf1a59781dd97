"""Producers: the RabbitMQ users that can send events of an organization."""
