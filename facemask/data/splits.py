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
    group, labels = (pd.factorize(faces[name], sort=True)[0] for name in ("group", "label"))
    sizes = np.zeros((group.max(initial=-1) + 1, labels.max(initial=-1) + 1), np.int64)
    np.add.at(sizes, (group, labels), 1)
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order].sum(axis=1), kind="stable")]
    targets, totals = np.array(list(fractions.values()))[:, None], sizes.sum(axis=0)
    counts = np.zeros((len(fractions), len(totals)))
    chosen = np.zeros(len(sizes), np.int8)
    for number in order:
        below = targets * (counts.sum(axis=0) + sizes[number]) - counts
        chosen[number] = split = np.argmax(below @ (sizes[number] / totals))
        counts[split] += sizes[number]
    return named(chosen[group], fractions, faces.index)


def hashed(faces: pd.DataFrame, fractions: dict[str, float], seed: int) -> pd.Series:
    """Group split by the hash of each group's first face: it stays when faces are added after those that are there.

    Every class gets its fractions only about: the more groups, the closer. Returns the split of every face.
    """
    ends = np.cumsum(list(fractions.values()))[:-1]

    def place(sha256: str) -> int:
        digest = hashlib.sha256(f"{seed} {sha256}".encode()).digest()
        return int(np.searchsorted(ends, int.from_bytes(digest[:4]) / 2**32, side="right"))

    group, names = pd.factorize(faces.group)
    chosen = np.fromiter(map(place, faces.sha256[~faces.group.duplicated()]), np.int8, len(names))
    return named(chosen[group], fractions, faces.index)


def named(numbers: np.ndarray, fractions: dict[str, float], index: pd.Index) -> pd.Series:
    """The names of splits, by their numbers."""
    return pd.Series(pd.array(list(fractions), dtype=str).take(numbers), index)


def with_other_datasets(divided: pd.Series, faces: pd.DataFrame, uses: dict[str, str]) -> pd.Series:
    """Add the datasets that are not divided: an external test set is a split by itself.

    Of a dataset that is trained on as a whole, near-duplicates of validation and test faces are left out; of an
    external test set, those of training and validation faces.

    Parameters
    ----------
    divided : Series
        The split of the faces of datasets with use `split`, by their row in the table of all.
    faces : DataFrame
        All faces.
    uses : dict
        The use of each dataset: split, train or test.

    Returns
    -------
    Series
        The split of every face; missing for those that are left out.

    Raises
    ------
    UserError
        If a dataset has no faces, or nothing of an external test set is left.
    """
    for name in uses:
        if not (faces.dataset == name).any():
            raise UserError(f"datasets.{name}: none of its faces can be used; the list of rejects says why")
    splits = divided.reindex(faces.index)
    added = faces.group[faces.dataset.isin([name for name, use in uses.items() if use == "train"])]
    splits[added.index[~added.isin(faces.group[splits.isin(["validation", "test"])])]] = "train"
    seen = faces.group[splits.isin(["train", "validation"])]
    for name in (name for name, use in uses.items() if use == "test"):
        own = faces.group[faces.dataset == name]
        if own.isin(seen).all():
            raise UserError(
                f"datasets.{name}: all of its faces are near-duplicates of the training or validation split; "
                "an external test set is of another source"
            )
        splits[own.index[~own.isin(seen)]] = name
    return splits
