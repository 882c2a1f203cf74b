"""Work in threads on all cores: decoding, resizing and inference release the GIL."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import joblib
from threadpoolctl import threadpool_limits

from facemask.core.terminal import progress


class Sliceable(Protocol):
    """A list, an array, a table."""

    def __len__(self) -> int: ...
    def __getitem__(self, rows: slice, /) -> Any: ...


Item = TypeVar("Item")
Part = TypeVar("Part", bound=Sliceable)
Result = TypeVar("Result")

WAITING_A_THREAD = 2


def cores() -> int:
    """The number of cores that this process may use, by affinity and cgroup."""
    return joblib.cpu_count()


def in_order(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Apply a function to items in threads; yield the results in order of the items.

    Few items are submitted ahead of the consumer, so memory does not grow if it is slow.
    """
    waiting: deque[Future[Result]] = deque()
    with threadpool_limits(1), ThreadPoolExecutor(workers) as pool:  # waiting BLAS threads take the cores from ours
        try:
            for item in items:
                if len(waiting) == WAITING_A_THREAD * workers:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(function, item))
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def apply(function: Callable[[Part], Result], items: Part, size: int, title: str, units: str) -> Iterator[Result]:
    """Apply a function to parts of a sequence on all cores, with a progress bar; yield the results in order.

    Parameters
    ----------
    items : sequence
        Anything with a length that can be sliced: a list, an array, a table.
    size : int
        Items a part.
    """
    parts = (items[start : start + size] for start in range(0, len(items), size))
    with progress(title, len(items), units) as bar:
        for result in in_order(function, parts, cores()):
            yield result
            bar.update(min(size, len(items) - bar.n))
