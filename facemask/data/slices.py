"""Attributes of faces, to score a classifier on slices of a test set: measured, and from a table of the user's."""

import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from facemask.core.errors import UserError
from facemask.data.corrections import KEY
from facemask.data.quality import Quality, measure

MEASURED = ("size", "aspect", *Quality._fields, "dataset")


def attributes(rows: pd.DataFrame, pixels: np.ndarray) -> pd.DataFrame:
    """What each face is like.

    Parameters
    ----------
    rows : DataFrame
        Of a shard.
    pixels : ndarray (n, size, size, 3), uint8
        The same faces, squares of one size.

    Returns
    -------
    DataFrame
        With the index of rows: size, the shorter side in pixels of the photo; aspect, width by height; brightness and
        sharpness of the square, as `quality.measure`; and dataset, if there are several.
    """
    quality = pd.DataFrame([measure(square) for square in pixels], index=rows.index)
    shape = {"size": rows[["width", "height"]].min(axis=1), "aspect": rows.width / rows.height}
    several = rows[["dataset"] if len(rows.dataset.unique()) > 1 else []]
    return pd.concat([pd.DataFrame(shape), quality, several], axis=1)


def read_table(file: Path) -> pd.DataFrame:
    """A user's table with the columns of `KEY`, by which faces are found, and others, as text.

    Raises
    ------
    UserError
        If it cannot be read or lacks a column of `KEY`.
    """
    try:
        with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):
            table = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False)  # noqa: TID251
    except (ValueError, pd.errors.ParserWarning) as error:  # of pandas' parsers and of the encoding
        raise UserError(f"{file} is no table in UTF-8 with commas: {' '.join(str(error).split()):.200}") from None
    if missing := [name for name in KEY if name not in table]:
        raise UserError(f"{file} has no column {missing[0]}; it needs {', '.join(KEY)}, and a column an attribute")
    return table


def read_attributes(file: Path, rows: pd.DataFrame, faces: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """The user's attributes of faces, as text; empty where the table does not name a face.

    Parameters
    ----------
    file : Path
        As `read_table` reads it.
    rows : DataFrame
        Of shards.
    faces : iterable of DataFrame
        All that were found; which of them are in which shard, or in none, depends on the seed.

    Returns
    -------
    DataFrame
        With the index of rows.

    Raises
    ------
    UserError
        As `read_table` does, and if the table has an attribute that is measured, names a face twice, or one that was
        not found.
    """
    table = read_table(file)
    if taken := [name for name in MEASURED if name in table]:
        raise UserError(f"{file}: {taken[0]} is an attribute that is measured; give the column another name")
    keys = pd.MultiIndex.from_frame(table[KEY])
    named = pd.concat([piece.loc[piece.sha256.isin(table.sha256), KEY] for piece in faces])
    known, found = (pd.MultiIndex.from_frame(one[KEY].astype(str)) for one in (rows, named))
    for wrong, reason in ((keys.duplicated(), "an earlier line names this face"),
                          (~keys.isin(found), "no face has this sha256 and this box")):  # fmt: skip
        if wrong.any():
            raise UserError(f"{file}, line {wrong.argmax() + 2}: {reason}; take the line out")
    values = table.drop(columns=KEY).set_axis(keys, axis=0).reindex(known, fill_value="")
    return values.set_axis(rows.index, axis=0)
