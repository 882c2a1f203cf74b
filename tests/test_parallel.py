"""All cores, in order, and never far ahead of whoever takes the results."""

import time

import pytest

from facemask.core import parallel


def test_results_come_in_the_order_of_the_items_whatever_takes_longest():
    def slow_first(part: list[int]) -> list[int]:
        time.sleep(0.05 if part[0] == 0 else 0)
        return [-item for item in part]

    results = parallel.apply(slow_first, list(range(25)), 4, "test", "item")
    assert [item for part in results for item in part] == [-item for item in range(25)]


def test_work_waits_for_a_slow_taker():
    begun = []
    results = parallel.apply(begun.append, list(range(1000)), 1, "test", "item")
    next(results)
    time.sleep(0.2)
    assert len(begun) <= 1 + parallel.WAITING_A_THREAD * parallel.cores()
    results.close()
    assert len(begun) < 1000


def test_a_failure_reaches_the_taker_and_ends_the_work():
    begun = []

    def fail(part: list[int]) -> None:
        begun.append(part)
        raise ValueError(part[0])

    with pytest.raises(ValueError, match=r"^0$"):
        list(parallel.apply(fail, list(range(1000)), 1, "test", "item"))
    assert len(begun) < 1000


def test_nothing_to_do_is_nothing_done():
    assert list(parallel.apply(len, [], 4, "test", "item")) == []
