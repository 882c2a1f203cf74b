"""All cores for work on photos: what takes the time there lets go of Python's lock, so threads do."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import joblib
from tqdm import tqdm

Part = TypeVar("Part", bound=Sequence)
Result = TypeVar("Result")

WAITING_A_THREAD = 2


def threads() -> int:
    """As many as this process may use processors, by affinity and by control group."""
    return joblib.cpu_count()


def apply(function: Callable[[Part], Result], items: Part, size: int, title: str, unit: str) -> Iterator[Result]:
    """Apply a function to the parts of a sequence, with a progress bar; yields the results in order.

    The threads wait for whoever takes the results, so memory does not grow where that is slow.

    Parameters
    ----------
    items : sequence
        Whatever has a length and can be sliced: a list, an array, a table.
    size : int
        Items a part.
    """
    ahead = WAITING_A_THREAD * threads()
    waiting = deque()
    with tqdm(total=len(items), desc=title, unit=unit) as progress, ThreadPoolExecutor(threads()) as pool:
        try:
            for start in range(0, len(items), size):
                if len(waiting) == ahead:
                    yield waiting.popleft().result()
                    progress.update(size)
                waiting.append(pool.submit(function, items[start : start + size]))
            while waiting:
                yield waiting.popleft().result()
                progress.update(min(size, len(items) - progress.n))
        finally:
            pool.shutdown(cancel_futures=True)
