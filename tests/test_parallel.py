"""Work in threads: results in order, and a bounded number of items ahead of the consumer."""

import threading

import pytest

from facemask.core import parallel


def test_results_come_in_the_order_of_the_items_whichever_is_done_first():
    second_is_done = threading.Event()

    def slow_first(item: int) -> int:
        if item == 0:
            assert second_is_done.wait(60), "the second item was not done beside the first"
        if item == 1:
            second_is_done.set()
        return -item

    assert list(parallel.in_order(slow_first, range(25), workers=2)) == [-item for item in range(25)]


def test_parts_come_in_the_order_of_the_sequence():
    results = parallel.apply(lambda part: [-item for item in part], list(range(25)), 4, "test", "item")
    assert [item for part in results for item in part] == [-item for item in range(25)]


def test_no_more_items_are_read_than_threads_can_hold_until_a_result_is_consumed():
    read = []

    def items():
        for item in range(1000):
            read.append(item)
            yield item

    results = parallel.in_order(abs, items(), workers=3)
    for consumed in range(1, 10):
        assert next(results) == consumed - 1
        assert len(read) <= consumed + parallel.WAITING_A_THREAD * 3
    results.close()
    assert len(read) < 20


def test_a_failure_reaches_the_consumer_and_ends_the_work():
    begun = []

    def fail(part: list[int]) -> None:
        begun.append(part)
        raise ValueError(part[0])

    with pytest.raises(ValueError, match=r"^0$"):
        list(parallel.apply(fail, list(range(1000)), 1, "test", "item"))
    assert len(begun) < 1000


def test_nothing_to_do_is_nothing_done():
    assert list(parallel.apply(len, [], 4, "test", "item")) == []
