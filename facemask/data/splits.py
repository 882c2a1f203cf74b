"""The splits of a dataset, and how it is divided."""

import hashlib
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import model_validator

from facemask.core.errors import UserError
from facemask.core.params import Fraction, Section

SPLITS = ("train", "validation", "test")


class Fractions(Section):
    """How much of the data goes where."""

    train: Fraction
    validation: Fraction
    test: Fraction

    @model_validator(mode="after")
    def whole(self) -> "Fractions":
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train, validation and test add up to {total:g}; they must add up to 1")
        return self

    @property
    def fractions(self) -> dict[str, float]:
        """The fraction of each split."""
        return {name: getattr(self, name) for name in SPLITS}


class Split(Fractions):
    """Which face goes where."""

    method: Literal["random", "hashed", "given"]
    leaked: Literal["drop", "keep"]


def assign(faces: pd.DataFrame, fractions: dict[str, float], seed: int) -> pd.Series:
    """Stratified group split: every split gets its fraction of every class, and no group is in two splits.

    Every group, the largest first, goes where its classes are furthest below their fraction. The
    result depends on the seed and the faces, not on their order. Returns the split of every face.
    """
    groups = pd.crosstab(faces.group, faces.label).sort_index()
    groups = groups.iloc[np.random.default_rng(seed).permutation(len(groups))]
    groups = groups.loc[groups.sum(axis=1).sort_values(ascending=False, kind="stable").index]
    names, targets = list(fractions), np.array(list(fractions.values()))[:, None]
    totals = groups.sum().to_numpy()
    counts = np.zeros((len(names), len(totals)))
    chosen = {}
    for group, faces_of_class in zip(groups.index, groups.to_numpy(), strict=True):
        below = targets * (counts.sum(axis=0) + faces_of_class) - counts
        split = int(np.argmax(below @ (faces_of_class / totals)))
        counts[split] += faces_of_class
        chosen[group] = names[split]
    return faces.group.map(chosen)


def hashed(faces: pd.DataFrame, fractions: dict[str, float], seed: int) -> pd.Series:
    """Group split by the hash of each group's first face: it stays when faces are added after those that are there.

    Every class gets its fractions only about: the more groups, the closer. Returns the split of every face.
    """
    names, ends = list(fractions), np.cumsum(list(fractions.values()))[:-1]

    def place(sha256: str) -> str:
        digest = hashlib.sha256(f"{seed} {sha256}".encode()).digest()
        return names[np.searchsorted(ends, int.from_bytes(digest[:4]) / 2**32, side="right")]

    return faces.groupby("group", sort=False).sha256.transform("first").map(place)


def with_other_datasets(divided: pd.DataFrame, faces: pd.DataFrame, uses: dict[str, str]) -> pd.DataFrame:
    """Add the datasets that are not divided: an external test set is a split by itself.

    Of a dataset that is trained on as a whole, near-duplicates of validation and test faces are left out; of an
    external test set, those of training and validation faces.

    Parameters
    ----------
    divided : DataFrame
        Faces of the datasets with use `split`, with their split.
    faces : DataFrame
        All faces.
    uses : dict
        The use of each dataset: split, train or test.

    Raises
    ------
    UserError
        If a dataset has no faces, or nothing of an external test set is left.
    """
    for name in uses:
        if not (faces.dataset == name).any():
            raise UserError(f"datasets.{name}: none of its faces can be used; the list of rejects says why")
    held_out = set(divided.group[divided.split != "train"])
    added = faces[faces.dataset.map(uses) == "train"]
    parts = [divided, added[~added.group.isin(held_out)].assign(split="train")]
    seen = {group for part in parts for group in part.group[part.split != "test"]}
    for name in (name for name, use in uses.items() if use == "test"):
        part = faces[faces.dataset == name]
        if part.group.isin(seen).all():
            raise UserError(
                f"datasets.{name}: all of its faces are near-duplicates of the training or validation split; "
                "an external test set is of another source"
            )
        parts.append(part[~part.group.isin(seen)].assign(split=name))
    return pd.concat(parts)
