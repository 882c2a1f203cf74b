"""Corrections of labels, by the content of the photo: a user's decisions, in a file that Git holds."""

import csv
from pathlib import Path

import pandas as pd

from facemask.core.errors import UserError
from facemask.data.boxes import Box
from facemask.data.faces import simple

DROP = "drop"
KEY = ["sha256", *Box._fields]


Corrections = dict[tuple[str, ...], tuple[int, str | None]]


def read_corrections(file: Path, aliases: dict[str, str]) -> Corrections:
    """Read a table with the columns sha256, left, top, right, bottom and correct: a class, or `drop`.

    Other columns do not matter, so rows of `metrics/label_issues.csv` can be taken as they are.

    Parameters
    ----------
    aliases : dict
        The class of each name, by its `simple` name.

    Returns
    -------
    dict
        By sha256 and box, as text: the line, and the class, or None for a face to drop.

    Raises
    ------
    UserError
        If the table lacks a column, names a face twice, or something that is no class.
    """
    found: Corrections = {}
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as opened:
        table = csv.DictReader(opened)
        if missing := [name for name in (*KEY, "correct") if name not in (table.fieldnames or ())]:
            raise UserError(f"{file} has no column {missing[0]}; it needs {', '.join([*KEY, 'correct'])}")
        for row in table:
            name, key = row["correct"] or "", tuple(row[column] for column in KEY)
            label = aliases.get(simple(name))
            if label is None and name != DROP:
                raise UserError(f"{file}, line {table.line_num}: {name!r} is no class of survey.classes, nor {DROP}")
            if key in found:
                raise UserError(f"{file}, line {table.line_num}: line {found[key][0]} corrects this face already")
            found[key] = table.line_num, label
    return found


def check_faces(faces: pd.DataFrame, corrections: Corrections, file: Path) -> None:
    """Refuse corrections that are of none of the faces.

    Raises
    ------
    UserError
        Naming the first one's line in the file.
    """
    named = faces.loc[faces.sha256.isin({key[0] for key in corrections}), KEY].astype(str)
    if unknown := [corrections[key][0] for key in corrections.keys() - set(named.itertuples(index=False, name=None))]:
        raise UserError(
            f"{file}, line {min(unknown)}: no face has this sha256 and this box; take the line out, or take it "
            "anew from metrics/label_issues.csv"
        )


def correct(faces: pd.DataFrame, corrections: Corrections) -> pd.DataFrame:
    """Faces with their labels corrected, missing for those to drop, and the column `given` as they were.

    Every copy of a photo is corrected.
    """
    named = faces[faces.sha256.isin({key[0] for key in corrections})]
    keys = named[KEY].astype(str).itertuples(index=False, name=None)
    labels = faces.label.copy()
    labels[named.index] = [corrections.get(key, (0, label))[1] for key, label in zip(keys, named.label, strict=True)]
    return faces.assign(label=labels, given=faces.label)
