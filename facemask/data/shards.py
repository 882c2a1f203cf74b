"""Arrays on disk: for each split an array with a row a face, and a table with the same rows.

A folder of shards holds `SPLIT.npy` and `SPLIT.csv`; a folder of features holds `SPLIT.npy` with the same rows. Where
the rows of a split are from several zips, `SPLIT/ZIP.npy` holds those of one, and `parts.json` has their order. An
external test set is a split of its own name. Arrays are memory-mapped: the memory of a stage does not grow with them.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import DTypeLike

from facemask.core import arrays
from facemask.core.errors import UserError
from facemask.core.files import write_json
from facemask.core.tables import read_csv, write_csv
from facemask.data.splits import SPLITS

ORDER = "parts.json"


def external(names: Iterable[str]) -> list[str]:
    """The splits that are external test sets, sorted."""
    return sorted(set(names) - set(SPLITS))


def names(folder: Path) -> list[str]:
    """The splits in a folder: train, validation and test, then the external test sets."""
    return [*SPLITS, *external(path.stem for path in folder.iterdir() if path.is_dir() or path.suffix == ".npy")]


def held_out(folder: Path) -> list[str]:
    """The held-out test splits: test, then the external test sets."""
    return [name for name in names(folder) if name not in ("train", "validation")]


def fill(folder: Path, split: str, shape: tuple[int, ...], dtype: DTypeLike, blocks: Iterable[np.ndarray]) -> None:
    """Write a split's array from blocks of several rows, in order."""
    arrays.write(folder / f"{split}.npy", shape, dtype, blocks)


def part_files(parts: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Where the rows of a split that one zip holds are kept.

    Parameters
    ----------
    parts : iterable of (split, name of the zip)
        In the order of the rows.

    Returns
    -------
    dict
        A path in the folder for each: `SPLIT.npy` if it is the split's only one, else `SPLIT/ZIP.npy`.
    """
    known = list(dict.fromkeys(parts))
    count = Counter(split for split, _ in known)
    return {(split, name): f"{split}.npy" if count[split] == 1 else f"{split}/{name}.npy" for split, name in known}


def write_order(folder: Path, files: dict[str, str]) -> None:
    """Write which files hold the rows, in order, with their sha256."""
    write_json(folder / ORDER, {"parts": [{"file": file, "sha256": sha256} for file, sha256 in files.items()]})


def order(folder: Path) -> dict[str, str]:
    """The files that hold the rows, in order, with their sha256, as `write_order` wrote them."""
    return {part["file"]: part["sha256"] for part in json.loads((folder / ORDER).read_text())["parts"]}


def array(folder: Path, split: str) -> np.ndarray:
    """A split's array, read-only and memory-mapped; of several parts as if they were one.

    Raises
    ------
    UserError
        If a file is not a complete array of numbers.
    """
    if not (folder / split).is_dir():
        return arrays.read(folder / f"{split}.npy")
    return arrays.joined([str(folder / file) for file in order(folder) if file.startswith(f"{split}/")])


def write_rows(folder: Path, split: str, rows: pd.DataFrame | Iterable[pd.DataFrame]) -> None:
    """Write the table beside a split's array, as `write_csv` does."""
    write_csv(folder / f"{split}.csv", rows)


def rows(folder: Path, split: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A split's table: the columns of the manifest, and copy (0 for the face itself, else the augmented sample)."""
    return read_csv(folder / f"{split}.csv", columns=columns)


def labels(folder: Path, split: str, classes: list[str]) -> np.ndarray:
    """A split's labels as indices into classes, int32 (rows,)."""
    return pd.Categorical(rows(folder, split, ["label"]).label, categories=classes).codes.astype(np.int32)


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
