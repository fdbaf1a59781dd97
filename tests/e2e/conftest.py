"""A broker for the whole stack."""

from tests.consumers.conftest import broker as broker
