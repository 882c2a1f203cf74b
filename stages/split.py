"""Decide which face is in the training, which in the validation and which in the test split.

Reads the faces, the rejects and the compared pairs; writes the manifest, a row a face, and what the data amounts to:
headlines and details. A group of near-duplicates never spans two splits: a model must not be tested on what it was
trained on.
"""

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from facemask.core import cli, params
from facemask.core.errors import UserError
from facemask.core.files import write_json
from facemask.core.params import Section, Seed
from facemask.core.tables import order, pieces, read_csv, write_csv
from facemask.data.faces import Survey, simple
from facemask.data.sources import Dataset, Datasets
from facemask.data.splits import SPLITS, Split, assign, hashed, with_other_datasets
from facemask.evaluation.metrics import CONFIDENCE

NEEDED = ["dataset", "member", "label", "group", "sha256"]


class Settings(Section):
    """The parameters that this stage reads."""

    seed: Seed
    datasets: Datasets
    survey: Survey
    split: Split


SPLIT_FOLDERS = {
    "train": "train", "training": "train", "trainset": "train",
    "validation": "validation", "valid": "validation", "val": "validation",
    "test": "test", "testing": "test", "testset": "test",
}  # fmt: skip


def given_split(member: str) -> str | None:
    """The split of the outermost folder that names one."""
    folders = map(simple, PurePosixPath(member).parent.parts)
    return next((SPLIT_FOLDERS[folder] for folder in folders if folder in SPLIT_FOLDERS), None)


def leaked(splits: pd.Series, groups: pd.Series) -> pd.Series:
    """Which faces are trained on, or pick the epoch, although a near-duplicate is in a later split."""
    place = splits.map({name: number for number, name in enumerate(SPLITS)})
    return place < place.groupby(groups).transform("max")


def divide(faces: pd.DataFrame, split: Split, seed: int) -> tuple[pd.Series, int]:
    """Give every face of the dataset its split.

    Returns
    -------
    (splits, leaks)
        The split of the faces that stay; and how many have a near-duplicate in a later split if groups are not looked
        at.

    Raises
    ------
    UserError
        If the archive's own folders are to be kept, and a face is in none of them.
    """
    if split.method == "given":
        splits = faces.member.map(given_split)
        if (strays := faces.member[splits.isna()]).size:
            raise UserError(
                f"split.method is given, but {strays.iloc[0]} is in no train, validation or test folder; "
                "move it, or set split.method: random"
            )
        leaks = leaked(splits, faces.group)
        return (splits[~leaks] if split.leaked == "drop" else splits), int(leaks.sum())
    method = hashed if split.method == "hashed" else assign
    rank = np.argsort(order(faces, ["group", "sha256"]))
    alone = faces.assign(group=rank)  # every face is a group
    leaks = leaked(method(alone, split.fractions, seed), faces.group)
    return method(faces, split.fractions, seed), int(leaks.sum())


def place(faces: pd.DataFrame, datasets: dict[str, Dataset], split: Split, seed: int) -> tuple[pd.DataFrame, int]:
    """The faces with their split, missing for those left out, and the leaks; raises what `divide` and
    `with_other_datasets` do.
    """
    divided, leaks = divide(faces[faces.dataset.isin(of_use(datasets, "split"))], split, seed)
    splits = with_other_datasets(divided, faces, {name: dataset.use for name, dataset in datasets.items()})
    return faces.assign(split=splits), leaks


def of_use(datasets: dict[str, Dataset], use: str) -> list[str]:
    """The names of the datasets with a use."""
    return [name for name, dataset in datasets.items() if dataset.use == use]


def check(faces: pd.DataFrame, classes: list[str], datasets: dict[str, Dataset]) -> None:
    """Stop where training would be pointless.

    Raises
    ------
    UserError
        If a class is missing from a split.
    """
    divided = faces.dataset.isin(of_use(datasets, "split"))
    for label in classes:
        own = faces.label == label
        found = faces.split[own]
        for split in SPLITS:
            if not (found == split).any():
                left = int(faces.split[own & divided].isna().sum())
                left_out = f" (left out, as near-duplicates of faces in a later split: {left:,})"
                why = left_out if left and split != "test" else ""
                raise UserError(
                    f"class {label} has {len(found):,} faces, none of them in {split}{why}; "
                    "give more photos, larger fractions, or take the class out of survey.classes"
                )


def remaining(sample: pd.DataFrame, test_photos: int) -> dict[str, Any]:
    """How many photos may have a near-duplicate that the survey did not find.

    Parameters
    ----------
    sample : DataFrame
        A row for each photo of a random sample, with a `kind` if one of the photos nearest to it, but of another
        group, passed as a near-duplicate under looser limits.
    test_photos : int

    Returns
    -------
    dict
        The fraction with its exact interval (C. J. Clopper, E. S. Pearson, Biometrika 26, 1934), and to how many
        test photos the interval's end amounts. Nothing if there is no sample.
    """
    if sample.empty:
        return {}
    from scipy.stats import binomtest

    found = int((sample.kind != "").sum())
    interval = binomtest(found, len(sample)).proportion_ci(CONFIDENCE)
    return {
        "sampled": len(sample),
        "found": found,
        "low": round(interval.low, 4),
        "high": round(interval.high, 4),
        "test_photos_at_most": round(interval.high * test_photos, 1),
    }


def amounts(
    faces: pd.DataFrame, rejects: pd.DataFrame, pairs: pd.DataFrame, datasets: dict[str, Dataset], leaks: int
) -> dict[str, Any]:
    """What the data is: counts by split and class, rejects, groups, and what is known of near-duplicates.

    Faces that are left out have no split. `leaks` is as `divide` returns it.
    """
    own = faces.dataset.isin(of_use(datasets, "split"))
    first = ~faces.duplicated(["dataset", "member"])  # of a photo
    verified = pairs[(pairs.step == "search") & (pairs.kind != "")]
    labels = faces[own].groupby("group").label.agg("nunique")
    left_out = faces.dataset[faces.split.isna()].value_counts()
    return {
        "faces": {
            split: {label: int(count) for label, count in labels.value_counts().items()}
            for split, labels in faces.groupby("split").label
        },
        "rejects": {kind: int(count) for kind, count in rejects.kind.value_counts().items()},
        "photos": int((own & first).sum()),
        "groups": len(labels),
        "groups_across_labels": int((labels > 1).sum()),
        "near_duplicates": {
            "compared": int((pairs.step == "search").sum()),
            "pairs": {kind: int(count) for kind, count in verified.kind.value_counts().items()},
            "across_splits": {"ungrouped": leaks, "grouped": int(leaked(faces.split, faces.group).sum())},
            "left_out": {name: int(left_out.get(name, 0)) for name in sorted(datasets)},
            "remaining": remaining(pairs[pairs.step == "sample"], int((first & (faces.split == "test")).sum())),
        },
    }


def main(faces: Path, rejects: Path, pairs: Path, manifest: Path, headlines: Path, details: Path) -> str:
    settings = params.load(Settings)
    refused, compared = read_csv(rejects), read_csv(pairs)
    placed, leaks = place(read_csv(faces, columns=NEEDED), settings.datasets, settings.split, settings.seed)
    check(placed, list(settings.survey.classes), settings.datasets)
    amount = amounts(placed, refused, compared, settings.datasets, leaks)
    kept = placed.split.dropna()
    blocks = [of_use(settings.datasets, "split"), of_use(settings.datasets, "train")]
    blocks += [[name] for name in of_use(settings.datasets, "test")]
    parts = (piece[piece.dataset.isin(block)] for block in blocks if block for piece in pieces(faces))
    write_csv(manifest, (part.join(kept, how="inner") for part in parts))
    groups = placed.group[kept.index].nunique()
    write_json(headlines, {"faces": len(kept), "groups": groups, "rejects": len(refused)})
    write_json(details, amount)
    counts = kept.value_counts()
    sizes = ", ".join(f"{counts[name]:,} {name}" for name in [*SPLITS, *of_use(settings.datasets, "test")])
    how = "in the given splits" if settings.split.method == "given" else "if split face by face"
    left_out = sum(amount["near_duplicates"]["left_out"].values())
    found = f"near-duplicates in a later split {how}: {leaks:,} faces; left out as near-duplicates: {left_out:,}"
    return f"{sizes}; {found}"


if __name__ == "__main__":
    cli.run(main)
