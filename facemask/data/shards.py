"""Arrays on disk: for each split an array with a row a face, and a table with the same rows.

A folder of shards holds `SPLIT.npy` and `SPLIT.csv`; a folder of features holds `SPLIT.npy` with the same rows. An
external test set is a split of its own name. Arrays are memory-mapped: the memory of a stage does not grow with them.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import DTypeLike

from facemask.core.errors import UserError
from facemask.core.files import read_csv, write_csv
from facemask.data.splits import SPLITS


def external(names: Iterable[str]) -> list[str]:
    """The splits that are external test sets, sorted."""
    return sorted(set(names) - set(SPLITS))


def names(folder: Path) -> list[str]:
    """The splits in a folder: train, validation and test, then the external test sets."""
    return [*SPLITS, *external(path.stem for path in folder.glob("*.npy"))]


def held_out(folder: Path) -> list[str]:
    """The held-out test splits: test, then the external test sets."""
    return [name for name in names(folder) if name not in ("train", "validation")]


def fill(folder: Path, split: str, shape: tuple[int, ...], dtype: DTypeLike, parts: Iterable[np.ndarray]) -> None:
    """Write a split's array from parts of several rows, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    # Written, not memory-mapped: with a memory map, a full disk would kill the process without a message.
    with (folder / f"{split}.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part, dtype).data)


def array(folder: Path, split: str) -> np.memmap:
    """A split's array, read-only and memory-mapped.

    Raises
    ------
    UserError
        If the file is not a complete array of numbers.
    """
    file = folder / f"{split}.npy"
    try:
        return np.load(file, mmap_mode="r")
    except (ValueError, EOFError):
        raise UserError(f"{file} is not a complete array of numbers; make it again with: dvc repro") from None


def write_rows(folder: Path, split: str, rows: pd.DataFrame) -> None:
    """Write the table beside a split's array."""
    write_csv(folder / f"{split}.csv", rows)


def rows(folder: Path, split: str) -> pd.DataFrame:
    """A split's table: the columns of the manifest, and copy (0 for the face itself, else the augmented sample)."""
    return read_csv(folder / f"{split}.csv")


def labels(folder: Path, split: str, classes: list[str]) -> np.ndarray:
    """A split's labels as indices into classes, int32 (rows,)."""
    return pd.Categorical(rows(folder, split).label, categories=classes).codes.astype(np.int32)


def read_labels(file: Path) -> list[str]:
    """Read the classes, a line each, in the order of the model's outputs.

    Raises
    ------
    UserError
        If one is there twice, or empty.
    """
    classes = file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    if len(set(classes)) < len(classes) or "" in classes:
        raise UserError(f"{file} names a class twice, or has an empty line; make it again with: dvc repro train")
    return classes
