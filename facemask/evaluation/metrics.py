"""What a classifier's probabilities are worth, for any number of classes."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn import metrics

ROUNDS, ROUNDS_AT_ONCE = 2000, 100
BINS = 15


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """How often the likeliest class is right, by how likely it is said to be.

    Columns confidence, accuracy (means) and photos of each of `BINS` equally wide bins that is not empty.
    """
    confidence = probabilities.max(axis=1)
    table = pd.DataFrame({"confidence": confidence, "accuracy": probabilities.argmax(axis=1) == labels, "photos": 1})
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return table.groupby(bins).agg({"confidence": "mean", "accuracy": "mean", "photos": "sum"}).reset_index(drop=True)


def calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Expected calibration error: how far confidence and accuracy are apart, on average over the photos."""
    table = reliability(labels, probabilities)
    return float(np.average((table.confidence - table.accuracy).abs(), weights=table.photos))


def summary(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Accuracy, and means over the classes that occur, of confusion matrices (..., true, predicted)."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    photos, guesses = confusion.sum(axis=-1), confusion.sum(axis=-2)
    present = photos > 0
    recall = right / np.maximum(photos, 1)
    precision = right / np.maximum(guesses, 1)
    f1 = 2 * right / np.maximum(photos + guesses, 1)
    means = {"balanced_accuracy": recall, "recall": recall, "precision": precision, "f1": f1}
    return {"accuracy": right.sum(axis=-1) / confusion.sum(axis=(-2, -1))} | {
        name: (values * present).sum(axis=-1) / present.sum(axis=-1) for name, values in means.items()
    }


def intervals(
    labels: np.ndarray, predicted: np.ndarray, groups: np.ndarray, classes: int, seed: int
) -> dict[str, dict[str, float]]:
    """95 % bootstrap intervals of what `summary` gives.

    Whole groups are drawn, since copies of one photo are one observation (B. Efron, R. Tibshirani, "An
    introduction to the bootstrap", 1993; groups: C. Field, A. Welsh, "Bootstrapping clustered data", 2007).

    Parameters
    ----------
    labels, predicted : ndarrays (n,), int
    groups : ndarray (n,)
        Equal for copies of one photo.
    """
    names, which = np.unique(groups, return_inverse=True)
    confusion = np.zeros((len(names), classes, classes))
    np.add.at(confusion, (which, labels, predicted), 1)
    flat, rng = confusion.reshape(len(names), -1), np.random.default_rng(seed)
    rounds = [
        summary((rng.multinomial(len(names), [1 / len(names)] * len(names), ROUNDS_AT_ONCE) @ flat)
                .reshape(-1, classes, classes))
        for _ in range(ROUNDS // ROUNDS_AT_ONCE)
    ]  # fmt: skip
    drawn = {name: np.concatenate([one[name] for one in rounds]) for name in rounds[0]}
    return {
        name: dict(zip(("low", "high"), map(float, np.quantile(values, [0.025, 0.975])), strict=True))
        for name, values in drawn.items()
    }


def score(
    labels: np.ndarray,
    probabilities: np.ndarray,
    predicted: np.ndarray,
    groups: np.ndarray,
    classes: list[str],
    seed: int,
) -> dict[str, Any]:
    """Everything that is said of a classifier on one set of photos.

    Parameters
    ----------
    labels, predicted : ndarrays (n,), int
        Indices into classes.
    probabilities : ndarray (n, classes), float
        Rows add up to 1.
    groups : ndarray (n,)
        Equal for copies of one photo.
    """
    table = report(labels, probabilities, predicted, classes)
    present = table.photos > 0
    means = table.loc[present, ["precision", "recall", "f1", "roc_auc", "average_precision"]].mean().dropna()
    return {
        "photos": len(labels),
        "loss": float(metrics.log_loss(labels, probabilities, labels=range(len(classes)))),
        "calibration_error": calibration_error(labels, probabilities),
        "accuracy": float(metrics.accuracy_score(labels, predicted)),
        "balanced_accuracy": float(table.recall[present].mean()),
        **means.to_dict(),
        "interval": intervals(labels, predicted, groups, len(classes), seed),
        "per_class": {
            row.pop("class"): {name: value for name, value in row.items() if not np.isnan(value)}
            for row in table.to_dict("records")
        },
    }


def report(labels: np.ndarray, probabilities: np.ndarray, predicted: np.ndarray, classes: list[str]) -> pd.DataFrame:
    """The classification report: a row a class, each class against the rest.

    Columns class, precision, recall, f1, photos, roc_auc, average_precision; the last two are
    missing where a class has all the photos or none.
    """
    indices = range(len(classes))
    precision, recall, f1, photos = metrics.precision_recall_fscore_support(
        labels, predicted, labels=indices, zero_division=0
    )
    table = pd.DataFrame({"class": classes, "precision": precision, "recall": recall, "f1": f1, "photos": photos})
    for name, measure in (("roc_auc", metrics.roc_auc_score), ("average_precision", metrics.average_precision_score)):
        table[name] = [
            measure(labels == index, probabilities[:, index]) if 0 < photos[index] < len(labels) else np.nan
            for index in indices
        ]
    return table
