"""What reaches the terminal: the pipeline's words, not those of the libraries under it."""

import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Hold back what a library's native code says on standard error; show it if the block fails."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@contextlib.contextmanager
def progress(title: str, total: int, units: str) -> Iterator[tqdm]:
    """A progress bar on standard error if that is a terminal, and elsewhere one line at the end.

    Parameters
    ----------
    total : int
        Of what the caller counts with `update`.
    units : str
        What is counted, in the plural.
    """
    with tqdm(total=total, desc=title, unit=f" {units}", disable=None) as bar:
        yield bar
    if bar.disable:
        print(f"{title}: {total:,} {units}", file=sys.stderr, flush=True)


def counted(items: Iterable[Item], title: str, total: int, units: str) -> Iterator[Item]:
    """The items, with their `progress`."""
    with progress(title, total, units) as bar:
        for item in items:
            yield item
            bar.update()
