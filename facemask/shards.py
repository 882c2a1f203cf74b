"""Large arrays on disk: for each split one array with a row a photo, and one table that says which.

A folder of shards holds `SPLIT.npy` and `SPLIT.csv`; a folder of features holds `SPLIT.npy` with
the same rows. Arrays are memory-mapped, so what a stage needs of memory does not grow with them.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from facemask.reproducible import write_csv

SPLITS = ("train", "validation", "test")


def create(folder: Path, split: str, shape: tuple[int, ...], dtype: np.dtype) -> np.memmap:
    """Make a split's array, to be filled row by row."""
    folder.mkdir(parents=True, exist_ok=True)
    return np.lib.format.open_memmap(folder / f"{split}.npy", mode="w+", dtype=dtype, shape=shape)


def array(folder: Path, split: str) -> np.memmap:
    """A split's array, read-only and memory-mapped."""
    return np.load(folder / f"{split}.npy", mmap_mode="r")


def write_rows(folder: Path, split: str, rows: pd.DataFrame) -> None:
    """Write the table beside a split's array."""
    write_csv(folder / f"{split}.csv", rows)


def rows(folder: Path, split: str) -> pd.DataFrame:
    """A split's table: member, label, copy (0 for the photo itself)."""
    return pd.read_csv(folder / f"{split}.csv", dtype={"member": str, "label": str}, keep_default_na=False)


def labels(folder: Path, split: str, classes: list[str]) -> np.ndarray:
    """A split's labels as indices into classes, int32 (rows,)."""
    return pd.Categorical(rows(folder, split).label, categories=classes).codes.astype(np.int32)
