"""Accuracy on parts of a test set: by what a face is like, and by what was done to it."""

import itertools

import numpy as np
import pandas as pd

from facemask.evaluation import metrics

PARTS = 3  # of a numeric attribute
SLICE = ["attribute", "slice", "photos", "accuracy", "low", "high", "rest", "below_rest"]
CORRUPTION = ["corruption", "severity", "photos", "accuracy", "low", "high"]


def accuracy(rows: pd.DataFrame, seed: int) -> dict[str, float]:
    """Photos and accuracy of rows with label, predicted and group, and its interval.

    low and high are missing where all rows are one observation, a group of near-duplicates.
    """
    right = (rows.label == rows.predicted).to_numpy(int)
    scores = {"photos": len(rows), "accuracy": float(right.mean()), "low": np.nan, "high": np.nan}
    if len(rows.group.unique()) > 1:
        scores |= metrics.intervals(np.ones_like(right), right, rows.group.to_numpy(), 2, seed)["accuracy"]
    return scores


def parts_of(values: pd.Series) -> pd.Series:
    """The slice of each value: text as it is; numbers by thirds, in words, fewer where many are equal."""
    if not pd.api.types.is_numeric_dtype(values):
        return values
    edges = np.unique(np.quantile(values, np.arange(1, PARTS) / PARTS))
    edges = edges[edges > values.min()]
    ends = [f"{edge:.3g}" for edge in edges]
    names = ["all"]
    if ends:
        between = [f"{low} to {high}" for low, high in itertools.pairwise(ends)]
        names = [f"below {ends[0]}", *between, f"from {ends[-1]}"]
    return pd.Series(np.array(names, object)[np.searchsorted(edges, values, side="right")], values.index)


def by_slice(predictions: pd.DataFrame, attributes: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Accuracy of every slice, and of the rest.

    Parameters
    ----------
    predictions : DataFrame
        With label, predicted and group.
    attributes : DataFrame
        With the same index: numbers, or text, which is empty where a face is in no slice.

    Returns
    -------
    DataFrame
        `SLICE`: below_rest is 1 where the whole interval lies below the accuracy of the rest, else 0. An attribute that
        is the same for all faces is left out.
    """
    rows = []
    for name, values in attributes.items():
        parts = parts_of(values)
        named = parts[parts != ""]
        order = values[named.index].groupby(named, sort=False).min().sort_values(kind="stable").index
        if len(named) == len(parts) and len(order) == 1:
            continue
        for part in order:
            inside = parts == part
            found, rest = accuracy(predictions[inside], seed), predictions[~inside]
            others = float((rest.label == rest.predicted).mean())
            below = int(found["high"] < others)
            rows.append({"attribute": name, "slice": part, **found, "rest": others, "below_rest": below})
    return pd.DataFrame(rows, columns=SLICE)


def by_corruption(predictions: pd.DataFrame, occlusions: list[str], unmasked: str, seed: int) -> pd.DataFrame:
    """Accuracy for every corruption and severity; severity 0 is that of the same faces as they are.

    Parameters
    ----------
    predictions : DataFrame
        With label, predicted, group, corruption (empty for faces as they are) and severity.
    occlusions : list of str
        Corruptions that hide a mask; they are scored on the class `unmasked` alone, and not at all without such faces.

    Returns
    -------
    DataFrame
        `CORRUPTION`.
    """
    rows = []
    for name in predictions.corruption[predictions.corruption != ""].unique():
        used = predictions[predictions.corruption.isin(["", name])]
        used = used[used.label == unmasked] if name in occlusions else used
        for severity, part in used.groupby("severity"):
            rows.append({"corruption": name, "severity": severity, **accuracy(part, seed)})
    return pd.DataFrame(rows, columns=CORRUPTION)


def corruption_accuracy(table: pd.DataFrame) -> float:
    """Mean corruption accuracy: over the severities from 1 on of each corruption, then over the corruptions."""
    return float(table[table.severity > 0].groupby("corruption").accuracy.mean().mean())
