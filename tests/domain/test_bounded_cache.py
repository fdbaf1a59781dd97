"""Tests of the cache with a limit in bytes."""

import random
import tracemalloc
from threading import Thread

from service.domain.bounded_cache import BoundedCache

MEBIBYTE = 2**20
Key = tuple[str, str | None, int]


def key(number: int) -> Key:
    return "shop", f"tests/test_{number}.py::behaves as specified, number {number}", number


def test_the_most_recently_used_entries_stay() -> None:
    cache: BoundedCache[Key, int] = BoundedCache(MEBIBYTE)
    for number in range(20_000):
        cache.add(key(number), number)
        assert cache.get(key(7)) == (7 if number >= 7 else None)
    assert cache.get(key(19_999)) == 19_999
    assert cache.get(key(8)) is None


def test_memory_is_limited() -> None:
    cache: BoundedCache[Key, int] = BoundedCache(4 * MEBIBYTE)
    rng = random.Random(1)
    tracemalloc.start()
    for number in range(60_000):
        cache.add(key(number), number)
        cache.get(key(rng.randrange(number + 1)))
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert MEBIBYTE < used < 4.2 * MEBIBYTE


def test_new_value_replaces_the_earlier_one_in_both_generations() -> None:
    cache: BoundedCache[Key, int] = BoundedCache(MEBIBYTE)
    cache.add(key(0), 1)
    for number in range(1, 3_000):
        cache.add(key(number), number)
    cache.add(key(0), 2)
    assert cache.get(key(0)) == 2
    cache.add(key(0), 3)
    assert cache.get(key(0)) == 3
    assert 3 in cache.values()


def test_cleared_cache_is_empty() -> None:
    cache: BoundedCache[Key, int] = BoundedCache(MEBIBYTE)
    for number in range(3_000):
        cache.add(key(number), number)
    cache.clear()
    assert list(cache.values()) == []
    assert cache.get(key(0)) is None
    assert cache.get(key(2_999)) is None


def test_threads_share_a_cache() -> None:
    cache: BoundedCache[Key, int] = BoundedCache(MEBIBYTE)
    wrong: list[int] = []

    def use(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(20_000):
            number = rng.randrange(5_000)
            if cache.get(key(number)) not in (None, number):
                wrong.append(number)
            cache.add(key(number), number)

    threads = [Thread(target=use, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
