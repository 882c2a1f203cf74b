"""Reproducible tables: the same rows give the same bytes, and no more of a table need be in memory than is used."""

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from facemask.core.files import DECIMALS, replacing

# Columns that are text in every table, even if they look like numbers: a class may be called 0, None or 1e5.
TEXT = (
    "dataset", "member", "label", "given", "group", "sha256", "split", "predicted", "kind", "reason",
    "test_set", "score", "class", "attribute", "slice", "corruption", "variant",
    "shard", "step", "left_dataset", "left_member", "right_dataset", "right_member",
)  # fmt: skip
NULLABLE = ("low", "high", "roc_auc", "average_precision")  # numbers that are missing in some rows
FORMAT: dict[str, Any] = {
    "dtype": dict.fromkeys(TEXT, str), "keep_default_na": False, "na_values": dict.fromkeys(NULLABLE, ""),
    "lineterminator": "\n",
}  # fmt: skip
ROWS = 100_000  # of a table that is read or written piece by piece


def write_csv(path: Path, table: pd.DataFrame | Iterable[pd.DataFrame]) -> None:
    """Write a table, or its pieces one after the other, without its index, floats with `DECIMALS` decimals."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        for number, piece in enumerate([table] if isinstance(table, pd.DataFrame) else table):
            piece.to_csv(file, header=number == 0, index=False, float_format=f"%.{DECIMALS}f", lineterminator="\n")


def read_csv(file: Path | io.StringIO, rows: int | None = None, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a table that `write_csv` wrote, or its first rows, or some of its columns: those in `TEXT` as text."""
    return pd.read_csv(file, nrows=rows, usecols=columns, **FORMAT)  # noqa: TID251


def pieces(file: Path) -> Iterator[pd.DataFrame]:
    """Read a table as `read_csv` does, `ROWS` at a time; the index goes on from piece to piece."""
    with pd.read_csv(file, chunksize=ROWS, **FORMAT) as parts:  # noqa: TID251
        yield from parts


def some(file: Path, rows: np.ndarray) -> pd.DataFrame:
    """Read some rows of a table, by their numbers; they come in the order of the table, with these as index."""
    return pd.concat([piece[piece.index.isin(rows)] for piece in pieces(file)])


def runs(table: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """Number the rows so that neighbours that are equal in these columns have the same number, from 0 on: (n,), int."""
    differs = np.zeros(len(table), bool)
    for name in columns:
        values = table[name].array
        differs[1:] |= values[1:] != values[:-1]
    return np.cumsum(differs)


def order(table: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """The numbers of the rows, sorted by these columns: (n,), int. Equal rows stay as they are."""
    keys = pa.Table.from_pandas(table[columns], preserve_index=False)
    return pc.sort_indices(keys, [(name, "ascending") for name in columns]).to_numpy().astype(np.int64)
