"""The streaming JSON parser returns the same values as a complete parse."""

import json
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.reports.conversion.errors import ReportError
from service.reports.streams import json as streams_json
from service.reports.streams.json import JsonStream
from service.reports.streams.json_values import written_text

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


@given(_VALUES)
def test_skipped_value_is_read_to_its_end(value: Any) -> None:
    stream = JsonStream(BytesIO(json.dumps([value, 7]).encode()))

    for _ in stream.elements():
        stream.skip()
        break

    assert stream.peek() == ","


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": [2, {"b": "}"}]}', '[1, [2], {"a": "]"}]', '"text"', "12"], ids=range(4)
)
def test_value_after_a_skipped_one_is_read(text: str) -> None:
    stream = JsonStream(Drip(f'{{"skipped": {text}, "read": 7}}'.encode()))

    members = stream.members()

    assert next(members) == "skipped"
    stream.skip()
    assert (next(members), stream.value(), list(members)) == ("read", 7, [])


@pytest.mark.parametrize("value", [["a" * 100] * 100, {str(number): "a" * 100 for number in range(100)}], ids=range(2))
def test_skipped_value_can_be_larger_than_other_values(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams_json, "_CHUNK_BYTES", 100)
    monkeypatch.setattr(streams_json, "_MAX_VALUE", 500)
    text = json.dumps(value).encode()

    with pytest.raises(ReportError, match="has more than"):
        JsonStream(BytesIO(text)).value()
    stream = JsonStream(BytesIO(text))
    stream.skip()
    stream.expect_end()


def test_invalid_value_is_not_skipped() -> None:
    with pytest.raises(ReportError, match="expected a comma"):
        JsonStream(BytesIO(b'{"a": 1 2}')).skip()


def test_position_counts_the_characters_that_were_read() -> None:
    stream = JsonStream(Drip('["ä", 12, {}]'.encode()))

    assert [(value, stream.position) for value in stream.items()] == [("ä", 4), (12, 8), ({}, 12)]


def test_text_of_a_value_that_is_nested_too_deep_is_malformed() -> None:
    value: Any = []
    for _ in range(100_000):
        value = [value]

    with pytest.raises(ReportError, match="nested too deep"):
        written_text(value)
