"""Spans that are recorded in memory."""

from collections.abc import Iterator

import pytest

from tests.tracing.recorded import Recorded, recorded_spans


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    with recorded_spans() as spans:
        yield spans
