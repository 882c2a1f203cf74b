"""Decide which photo is trained on, which picks the epoch, and which is the exam.

Reads the zip; writes the manifest, a row a readable photo, and the rejects with their reasons.
Copies of one photo form a group, and a group never spans two splits: a model must not be examined
on what it was taught.
"""

import hashlib
import re
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from tqdm import tqdm

from facemask import cli, images, params
from facemask.archive import Archive
from facemask.errors import UserError
from facemask.params import Split
from facemask.reproducible import write_csv
from facemask.shards import SPLITS

SPLIT_FOLDERS = {
    "train": "train", "training": "train", "trainset": "train",
    "validation": "validation", "valid": "validation", "val": "validation",
    "test": "test", "testing": "test", "testset": "test",
}  # fmt: skip


def simple(name: str) -> str:
    """`With Mask`, `WithMask` and `with_mask` are one name: letters and digits, lower case."""
    return re.sub(r"[\W_]", "", name).casefold()


def label_of(member: str, aliases: dict[str, str]) -> str | None:
    """The class of the innermost folder that names one."""
    folders = PurePosixPath(member).parent.parts
    return next((aliases[simple(folder)] for folder in reversed(folders) if simple(folder) in aliases), None)


def given_split(member: str) -> str | None:
    """The split of the outermost folder that names one."""
    folders = PurePosixPath(member).parent.parts
    return next((SPLIT_FOLDERS[simple(folder)] for folder in folders if simple(folder) in SPLIT_FOLDERS), None)


def survey(raw: Path, split: Split) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read every photo once.

    Returns
    -------
    (photos, rejects)
        Columns member, label, group, sha256, width, height; and member, reason.
    """
    aliases = {simple(alias): label for label, names in split.classes.items() for alias in (label, *names)}
    photos, rejects = [], []
    with Archive(raw) as archive:
        members = [name for name in archive.names if PurePosixPath(name).suffix.lower() in images.SUFFIXES]
        for member in tqdm(members, desc="read", unit="photo"):
            label = label_of(member, aliases)
            try:
                if label is None:
                    raise images.ImageError("in no folder that split.classes names")
                content = archive.read(member)
                width, height = images.decode(content).size
            except (images.ImageError, UserError) as error:
                rejects.append((member, str(error)))
                continue
            digest = hashlib.sha256(content).hexdigest()
            photos.append((member, label, digest[:16], digest, width, height))
    return (
        pd.DataFrame(photos, columns=["member", "label", "group", "sha256", "width", "height"]),
        pd.DataFrame(rejects, columns=["member", "reason"]),
    )


def assign(photos: pd.DataFrame, shares: dict[str, float], seed: int) -> pd.Series:
    """Deal groups to splits, class by class, so that each split gets its share of every class.

    Every group goes where its class is furthest behind its share. The result depends on the
    seed and the photos, not on their order. Returns the split of every photo.
    """
    groups = photos.groupby("group").agg(label=("label", "min"), size=("member", "size")).sort_index()
    rng = np.random.default_rng(seed)
    groups = groups.iloc[rng.permutation(len(groups))].sort_values("size", ascending=False, kind="stable")
    names = list(shares)
    targets = np.array(list(shares.values()))
    chosen = {}
    for _, members in groups.groupby("label"):
        counts = np.zeros(len(names))
        for group, size in members["size"].items():
            total = counts.sum() + size
            split = int(np.argmax(targets * total - counts))
            counts[split] += size
            chosen[group] = names[split]
    return photos.group.map(chosen)


def check(manifest: pd.DataFrame, classes: list[str], rejects: pd.DataFrame, max_rejected: float) -> None:
    """Stop where training would be pointless.

    Raises
    ------
    UserError
        If too many photos are rejected, or a class is missing from a split.
    """
    examined = len(manifest) + len(rejects)
    if examined == 0:
        raise UserError("the archive holds no images; give a zip or folder of class folders with photos")
    if len(rejects) > max_rejected * examined:
        first = "; ".join(f"{row.member}: {row.reason}" for row in rejects.head(10).itertuples())
        raise UserError(
            f"{len(rejects)} of {examined} photos rejected, split.max_rejected allows "
            f"{max_rejected:.1%}; the first: {first}"
        )
    for label in classes:
        for split in SPLITS:
            if not ((manifest.label == label) & (manifest.split == split)).any():
                found = int((manifest.label == label).sum())
                raise UserError(
                    f"class {label} has {found} photos, none of them in {split}; "
                    "give more photos, larger shares, or take the class out of split.classes"
                )


def main(raw: Path, manifest: Path, rejects: Path) -> None:
    settings = params.load()
    split = settings.split
    photos, rejected = survey(raw, split)
    if split.method == "given":
        photos["split"] = photos.member.map(given_split)
        outside = photos.split.isna()
        strays = photos.loc[outside, ["member"]].assign(reason="in no train, validation or test folder")
        photos, rejected = photos[~outside], pd.concat([rejected, strays])
    else:
        shares = {"train": split.train, "validation": split.validation, "test": split.test}
        photos["split"] = assign(photos, shares, settings.seed)
    check(photos, list(split.classes), rejected, split.max_rejected)
    write_csv(manifest, photos[["member", "label", "split", "group", "sha256", "width", "height"]])
    write_csv(rejects, rejected)
    print(pd.crosstab(photos.label, photos.split)[list(SPLITS)].to_string())
    print(f"{len(photos) - photos.group.nunique()} exact copies kept beside their originals, {len(rejected)} rejected")


if __name__ == "__main__":
    cli.run(main)
