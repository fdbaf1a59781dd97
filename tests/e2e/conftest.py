"""The broker of the complete stack."""

from tests.consumers.conftest import broker as broker
