"""Audit labels and sources: which faces are probably labelled wrongly, and whether datasets can be told apart.

Reads the manifest, the compared pairs, the shards and the features; writes a row a doubtful face, a sheet of the most
doubtful ones, and how well a logistic regression knows the dataset of a face. A face is doubtful where a logistic
regression on the features of all other groups says another class (confident learning), or where a near-duplicate has
another label. With `train_from: input` there are no features.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pydantic import Field

from facemask.core import cli, params
from facemask.core.arrays import Joined
from facemask.core.files import write_json
from facemask.core.params import Count, Section, Seed
from facemask.core.tables import read_csv, some, write_csv
from facemask.data import shards
from facemask.data.boxes import Box
from facemask.evaluation import figures
from facemask.evaluation.label_audit import out_of_fold, suggested

SHOWN, COLUMNS = 40, 8
ROWS = 256  # of features, read at once
PHOTO = ["dataset", "member"]
Reader = Callable[[np.ndarray], np.ndarray]  # numbers of faces, ascending, to features (faces, features), float64
REASONS = {(True, False): "prediction", (False, True): "near-duplicate", (True, True): "prediction, near-duplicate"}
ISSUE = [*PHOTO, "sha256", *Box._fields, "split", "label", "suggested", "probability", "reason"]


class Audit(Section):
    """The folds of cross-validation, and how many faces one model is fitted on at most."""

    folds: Annotated[int, Field(ge=2)]
    fitted: Count


class Settings(Section):
    """The parameters that this stage reads."""

    seed: Seed
    train_from: str
    audit: Audit


def collect(manifest: Path, pixels: Path, features: Path) -> tuple[pd.DataFrame, Reader]:
    """Every face without its augmented samples, by split, with its row in the shard; and what reads their features.

    The index of a face is its row in the manifest.
    """
    splits = shards.names(pixels)
    arrays = [shards.array(features, split) for split in splits]
    originals = [np.flatnonzero(shards.rows(pixels, split, ["copy"])["copy"] == 0) for split in splits]
    table = read_csv(manifest, columns=[*PHOTO, "split", "label", "group"])
    places = np.concatenate([np.flatnonzero(table.split == split) for split in splits])
    faces = table.take(places).assign(row=np.concatenate(originals))
    starts = np.cumsum([0, *map(len, arrays[:-1])])
    rows = np.concatenate([start + part for start, part in zip(starts, originals, strict=True)])
    whole = Joined(arrays)

    def read(numbers: np.ndarray) -> np.ndarray:
        vectors = np.empty((len(numbers), whole.shape[-1]))
        for start in range(0, len(numbers), ROWS):
            found = whole[rows[numbers[start : start + ROWS]]]
            vectors[start : start + ROWS] = found.reshape(len(found), -1, found.shape[-1]).mean(axis=1)
        return vectors

    return faces, read


def labels_of_near_duplicates(faces: pd.DataFrame, pairs: pd.DataFrame) -> dict[int, str]:
    """The other label of a face's near-duplicate, by the face's index; only photos with one face each are compared."""
    found = pairs[(pairs.step == "search") & (pairs.kind != "")]
    paired = faces[faces.member.isin(found.left_member) | faces.member.isin(found.right_member)]
    alone = paired[~paired.duplicated(PHOTO, keep=False)].reset_index().set_index(PHOTO)
    other: dict[int, str] = {}
    for pair in found.itertuples():
        left, right = (pair.left_dataset, pair.left_member), (pair.right_dataset, pair.right_member)
        if left in alone.index and right in alone.index and alone.label[left] != alone.label[right]:
            other |= {alone["index"][left]: alone.label[right], alone["index"][right]: alone.label[left]}
    return other


def find(faces: pd.DataFrame, read: Reader, pairs: pd.DataFrame, audit: Audit, seed: int) -> pd.DataFrame:
    """The doubtful faces, with the class suggested for them, the probability of their label, and the reason."""
    classes = sorted(faces.label.unique())
    labels = pd.Categorical(faces.label, categories=classes).codes.astype(int)
    probabilities = out_of_fold(read, labels, numbered(faces.group), audit.folds, audit.fitted, seed)
    better, other = suggested(probabilities, labels), labels_of_near_duplicates(faces, pairs)
    predicted, near = better != labels, faces.index.isin(list(other))
    doubtful = np.flatnonzero(predicted | near)
    return faces.iloc[doubtful].assign(
        suggested=[other.get(faces.index[row], classes[better[row]]) for row in doubtful],
        probability=probabilities[doubtful, labels[doubtful]].round(4),
        reason=[REASONS[predicted[row], near[row]] for row in doubtful],
    )


def identified(doubtful: pd.DataFrame, manifest: Path) -> pd.DataFrame:
    """The doubtful faces with the columns `ISSUE`, the least probable labels first."""
    keys = some(manifest, doubtful.index.to_numpy())[["sha256", *Box._fields]]
    return doubtful.join(keys).sort_values(["probability", "sha256"], kind="stable")


def numbered(groups: pd.Series) -> np.ndarray:
    """Groups as numbers, in the order of their names: (n,), int."""
    return pd.factorize(groups, sort=True)[0]


def told_apart(faces: pd.DataFrame, read: Reader, audit: Audit, seed: int) -> float | None:
    """The balanced accuracy with which a logistic regression on the features of other groups knows the dataset."""
    from sklearn.metrics import balanced_accuracy_score

    codes = pd.Categorical(faces.dataset).codes.astype(int)
    if not codes.any():
        return None
    probabilities = out_of_fold(read, codes, numbered(faces.group), audit.folds, audit.fitted, seed)
    return round(float(balanced_accuracy_score(codes, probabilities.argmax(axis=1))), 4)


def draw(doubtful: pd.DataFrame, pixels: Path, sheet: Path) -> None:
    """The most doubtful faces with their labels and the suggested ones."""
    arrays = {split: shards.array(pixels, split) for split in doubtful.split.unique()}
    first = doubtful.head(SHOWN)
    lines = max(1, -(-len(first) // COLUMNS))
    figure = Figure(figsize=(1.6 * COLUMNS, 2.1 * lines + 0.4), layout="constrained")
    title = f"{len(doubtful):,} doubtful labels; the least probable first"
    figure.suptitle(title if len(doubtful) else "no label is doubtful", x=0.01, ha="left", fontsize=11)
    grid = figure.subplots(lines, COLUMNS, squeeze=False).flat
    for axes in grid:
        axes.set_axis_off()
    for axes, face in zip(figure.axes, first.itertuples(), strict=False):
        axes.set_axis_on()
        figures.show(axes, arrays[face.split][face.row], f"{face.label}\n{face.suggested}? ({face.split})")
    figures.save(figure, sheet)


def main(manifest: Path, pairs: Path, pixels: Path, features: Path, issues: Path, sources: Path, sheet: Path) -> str:
    settings = params.load(Settings)
    faces, doubtful, apart = None, pd.DataFrame(columns=[*ISSUE, "row"]), None
    if settings.train_from != "input":
        faces, read = collect(manifest, pixels, features)
        doubtful = identified(find(faces, read, read_csv(pairs), settings.audit, settings.seed), manifest)
        apart = told_apart(faces, read, settings.audit, settings.seed)
    write_csv(issues, doubtful[ISSUE])
    write_json(sources, {"told_apart": apart})
    draw(doubtful, pixels, sheet)
    if faces is None:
        return "not audited: with train_from: input there are no features"
    counts = ", ".join(f"{count:,} of {split}" for split, count in doubtful.split.value_counts().items())
    return f"{len(doubtful):,} of {len(faces):,} labels are doubtful{f' ({counts})' if counts else ''}"


if __name__ == "__main__":
    cli.run(main)
