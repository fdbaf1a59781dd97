"""The streaming JSON parser returns the same values as a complete parse."""

import json
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.reports.errors import ReportError
from service.reports.json_stream import JsonStream

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


class Drip(BytesIO):
    """A file that returns one byte per read."""

    def read(self, _size: int | None = -1, /) -> bytes:
        return super().read(1)


@given(st.lists(_VALUES), st.booleans(), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_items_equal_those_of_a_complete_parse(values: list[Any], ascii_only: bool, encoding: str) -> None:
    text = json.dumps(values, ensure_ascii=ascii_only, indent=1)

    stream = JsonStream(BytesIO(text.encode(encoding, "surrogatepass")))

    assert list(stream.items()) == values
    stream.expect_end()


@given(st.dictionaries(st.text(), _VALUES))
def test_members_equal_those_of_a_complete_parse(values: dict[str, Any]) -> None:
    stream = JsonStream(BytesIO(json.dumps(values).encode()))

    assert {key: stream.value() for key in stream.members()} == values


def test_values_are_parsed_across_chunk_boundaries() -> None:
    text = '[12, true, "ä\\u00e4", {"a": -1.5e3}, 7 ]'

    assert list(JsonStream(Drip(text.encode())).items()) == json.loads(text)


def test_number_at_the_end_of_a_chunk_is_parsed_completely() -> None:
    assert JsonStream(Drip(b"123456")).value() == 123456


def test_value_without_an_end_is_rejected() -> None:
    endless = b'["' + b"a" * 40_000_000

    with pytest.raises(ReportError, match="has more than"):
        list(JsonStream(BytesIO(endless)).items())


def test_error_states_the_problem_and_the_position() -> None:
    with pytest.raises(ReportError, match=r"expected a comma or ] at '2\]'"):
        list(JsonStream(BytesIO(b"[1 2]")).items())
