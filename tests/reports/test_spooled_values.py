"""Lists of JSON values that are partly in a temporary file."""

from typing import Any

import pytest

from service.reports.streams.kept_values import SpooledValues


@pytest.mark.parametrize("per_write", [1, 2, 3, 10])
def test_values_are_read_in_the_order_in_which_they_were_added(per_write: int) -> None:
    values: list[Any] = [{"a": [1]}, "ä\n", None, "\ud800", 1.5, [], 7]

    with SpooledValues() as spooled:
        for number, value in enumerate(values, 1):
            spooled.add(value)
            if number % per_write == 0:
                spooled.write()

        assert list(spooled) == values


def test_values_without_a_file_are_read() -> None:
    with SpooledValues() as spooled:
        spooled.add(7)

        assert list(spooled) == [7]
