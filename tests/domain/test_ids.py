"""New IDs sort in the order of creation, because lists are sorted by ID."""

from service.domain.ids import id_timestamp_ms, is_id, new_id


def test_ids_of_one_millisecond_are_in_the_order_of_creation() -> None:
    ids = [new_id("whk") for _ in range(1000)]
    assert ids == sorted(ids)
    assert len({id_timestamp_ms(each) for each in ids}) < len(ids)
    assert all(is_id("whk", each) for each in ids)
