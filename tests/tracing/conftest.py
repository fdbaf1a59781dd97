"""A broker, a store, and spans that are recorded in memory."""

from collections.abc import Iterator

import pytest

from tests.consumers.conftest import broker, store
from tests.tracing.recorded import Recorded, recorded_spans

__all__ = ["broker", "store"]


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    with recorded_spans() as spans:
        yield spans
