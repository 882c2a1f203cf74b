"""Find the near-duplicates in a table of faces, and estimate what is left."""

import functools
import itertools
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from facemask.core import parallel
from facemask.core.tables import runs
from facemask.data.boxes import Box
from facemask.data.near_duplicates import candidates, verification
from facemask.data.near_duplicates.features import Described, mirrored
from facemask.data.near_duplicates.verification import LOOSER, Limits

PAIRS_A_TASK = 64
SAMPLE, NEAREST = 500, 5  # photos whose nearest others are compared once more, with looser limits
LOWER = 0.05  # and how much lower a correlation they may have
PAIR = ["step", "kind", "correlation", "left_dataset", "left_member", "right_dataset", "right_member"]


def search(
    faces: pd.DataFrame,
    scenes: np.ndarray,
    features: Described,
    read_grey: Callable[[int], np.ndarray],
    correlation: float,
) -> tuple[np.ndarray, pd.DataFrame]:
    """Find near-duplicates, and sample what the search may have left.

    Parameters
    ----------
    faces : DataFrame
        Sorted by sha256 and box; on the order depends which pairs are looked at.
    scenes : ndarray (faces,), int
        Equal for faces of one photo.
    features : Described
        Of every face.
    read_grey : callable
        Takes the row of a face; returns its pixels as `features.grey` does.
    correlation : float
        From which on two photos are near-duplicates; 1 if only identical files are.

    Returns
    -------
    (groups, pairs)
        The row of the first face in every face's group: (faces,), int; `PAIR` of every candidate, with a correlation
        of 0 if it cannot be aligned.
    """
    first = np.flatnonzero(np.diff(runs(faces, ["sha256", *Box._fields]), prepend=-1))
    rows = np.arange(len(faces))
    photos = rows[~pd.Series(scenes).duplicated()]
    copies = chained(photos, runs(faces, ["sha256"])[photos])
    copies = copies[np.argsort(copies[:, 0], kind="stable")]
    identical = [(left, right, "identical", 1.0) for left, right in copies.tolist()]
    links = [chained(rows, scenes), copies]
    groups = connected(len(faces), np.concatenate(links))
    found, sample = [], []
    if correlation < 1:
        known = features.at(first)

        def verified(pairs: np.ndarray, limits: Limits, least: float, title: str) -> list[tuple[int, int, str, float]]:
            rows = np.stack([first[pairs[:, 0]], first[pairs[:, 1]], pairs[:, 2]], axis=1)
            rows = rows[groups[rows[:, 0]] != groups[rows[:, 1]]]
            task = functools.partial(verify, features=features, read_grey=read_grey, limits=limits, correlation=least)
            return list(itertools.chain(*parallel.apply(task, rows, PAIRS_A_TASK, title, "pairs")))

        found = verified(candidates.find(known), Limits(), correlation, "compare")
        links.append(np.array([pair[:2] for pair in found if pair[2]], int).reshape(-1, 2))
        groups = connected(len(faces), np.concatenate(links))
        chosen = np.flatnonzero(~pd.Series(scenes[first]).duplicated())[:SAMPLE]  # faces of one photo say one thing
        nearest = candidates.nearest(known, groups[first], chosen, NEAREST)
        sample = best_of_each(first[chosen], verified(nearest, LOOSER, correlation - LOWER, "sample"))
    compared = [("search", *pair) for pair in identical + found] + [("sample", *pair) for pair in sample]
    _, firsts = np.unique(groups, return_index=True)
    return firsts[groups], named(faces, compared)


def names(faces: pd.DataFrame, groups: np.ndarray) -> pd.api.extensions.ExtensionArray:
    """The name of every face's group, from the sha256 of its first face; faces and groups as `search` has them."""
    return pd.Series(faces.sha256.array.take(groups)).str[:16].array


def chained(rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Pairs of each row with the first one of the same number, but of no row with itself: (pairs, 2), int."""
    first = pd.Series(rows).groupby(numbers).transform("min").to_numpy()
    return np.stack([first, rows], axis=1)[first < rows]


def verify(
    pairs: np.ndarray, features: Described, read_grey: Callable, limits: Limits, correlation: float
) -> list[tuple[int, int, str, float]]:
    """Compare candidates: left row, right row, kind or nothing, and correlation, 0 if they cannot be aligned."""
    compared = []
    for left, right, flip in pairs.tolist():
        other = mirrored(features[right]) if flip else features[right]
        matrix = verification.align(features[left], other, limits)
        if matrix is None:
            compared.append((left, right, "", 0.0))
            continue
        pixels = read_grey(right)[:, ::-1] if flip else read_grey(right)
        overlap = verification.compare(read_grey(left), pixels, matrix)
        compared.append((left, right, verification.kind(overlap, bool(flip), correlation), overlap.correlation))
    return compared


def best_of_each(photos: Iterable[int], compared: list[tuple[int, int, str, float]]) -> list[tuple]:
    """A photo's nearest other, or itself with a correlation of 0 if none can be aligned with it."""
    best = {photo: (photo, photo, "", 0.0) for photo in photos}
    for pair in compared:
        best[pair[0]] = max(best[pair[0]], pair, key=lambda one: (one[2] != "", one[3]))
    return list(best.values())


def named(faces: pd.DataFrame, pairs: list[tuple[str, int, int, str, float]]) -> pd.DataFrame:
    """Pairs of rows as `PAIR`."""
    table = pd.DataFrame(pairs, columns=["step", "left", "right", "kind", "correlation"])
    for side in ("left", "right"):
        for key in ("dataset", "member"):
            table[f"{side}_{key}"] = faces[key].to_numpy()[table[side].to_numpy(int)]
    return table.assign(correlation=table.correlation.astype(float).round(4))[PAIR]


def connected(count: int, pairs: np.ndarray) -> np.ndarray:
    """Number photos so that those of a pair, and of a chain of pairs, have the same number.

    Parameters
    ----------
    pairs : ndarray (n, 2), int

    Returns
    -------
    ndarray (count,), int32
    """
    edges = coo_array((np.ones(len(pairs), bool), tuple(pairs.T)), shape=(count, count))
    return connected_components(edges, directed=False)[1]
