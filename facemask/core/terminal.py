"""Terminal output: progress of the pipeline, and libraries kept quiet."""

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


@contextlib.contextmanager
def silenced(*loggers: str) -> Iterator[None]:
    """Hold back standard error, that of native code too, and show it if the block fails.

    Python warnings, and records of the named loggers below ERROR, are not shown at all.
    """
    levels = {logger: logger.level for logger in map(logging.getLogger, loggers)}
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as output, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in levels:
            logger.setLevel(logging.ERROR)
        os.dup2(output.fileno(), 2)
        try:
            yield
        except BaseException:
            sys.stderr.flush()
            output.seek(0)
            os.write(stderr, output.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            for logger, level in levels.items():
                logger.setLevel(level)


@contextlib.contextmanager
def progress(title: str, total: int, units: str) -> Iterator[tqdm]:
    """A progress bar on standard error if that is a terminal, else one line at the end.

    Parameters
    ----------
    total : int
        The sum of what the caller passes to `update`.
    units : str
        What is counted, in the plural.
    """
    with tqdm(total=total, desc=title, unit=f" {units}", disable=None) as bar:
        yield bar
    if bar.disable:
        print(f"{title}: {total:,} {units}", file=sys.stderr, flush=True)


def counted(items: Iterable[Item], title: str, total: int, units: str) -> Iterator[Item]:
    """Iterate over the items with a `progress` bar."""
    with progress(title, total, units) as bar:
        for item in items:
            yield item
            bar.update()
