"""Metrics of a classifier, for any number of classes."""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

CONFIDENCE = 0.95
INTERVAL = f"{100 * CONFIDENCE:g} % interval"
ROUNDS = 2000
DRAWN_AT_ONCE = 2**22  # numbers
FEW = 1000  # groups whose draws are kept: many slices and corruptions have as many
BINS = 15
HEADLINES = ("accuracy", "balanced_accuracy", "f1", "roc_auc", "loss", "calibration_error")
SCORES = (
    "accuracy", "balanced_accuracy", "precision", "f1", "roc_auc", "average_precision", "calibration_error", "loss",
)  # fmt: skip


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """Reliability diagram: accuracy of the argmax class by its probability.

    Columns confidence, accuracy (means) and photos of each of `BINS` equally wide bins that is not empty.
    """
    confidence = probabilities.max(axis=1)
    table = pd.DataFrame({"confidence": confidence, "accuracy": probabilities.argmax(axis=1) == labels, "photos": 1})
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return table.groupby(bins).agg({"confidence": "mean", "accuracy": "mean", "photos": "sum"}).reset_index(drop=True)


def calibration_error(table: pd.DataFrame) -> float:
    """Expected calibration error: mean difference of confidence and accuracy in a reliability diagram, by photos."""
    return float(np.average((table.confidence - table.accuracy).abs(), weights=table.photos))


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: list[str]) -> pd.DataFrame:
    """Confusion matrix in long form: columns label, predicted and photos, a row for every pair of classes."""
    from sklearn import metrics

    counts = metrics.confusion_matrix(labels, predicted, labels=range(len(classes)))
    pairs = pd.MultiIndex.from_product([classes, classes], names=["label", "predicted"])
    return pd.DataFrame({"photos": counts.ravel()}, pairs).reset_index()


def roc(labels: np.ndarray, probabilities: np.ndarray, classes: list[str]) -> pd.DataFrame:
    """ROC curve of every class against the rest: columns class, false_positive_rate, true_positive_rate.

    Points that do not change the curve are left out; so are classes with all the photos or none.
    """
    from sklearn import metrics

    parts = [pd.DataFrame(columns=["class", "false_positive_rate", "true_positive_rate"])]
    for index, label in one_against_rest(labels, classes):
        false, true, _ = metrics.roc_curve(labels == index, probabilities[:, index], drop_intermediate=True)
        parts.append(pd.DataFrame({"class": label, "false_positive_rate": false, "true_positive_rate": true}))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def precision_recall(labels: np.ndarray, probabilities: np.ndarray, classes: list[str]) -> pd.DataFrame:
    """Precision-recall curve of every class against the rest: columns class, recall, precision.

    Points that do not change the curve are left out; so are classes with all the photos or none.
    """
    from sklearn import metrics

    parts = [pd.DataFrame(columns=["class", "recall", "precision"])]
    for index, label in one_against_rest(labels, classes):
        precision, recall, _ = metrics.precision_recall_curve(
            labels == index, probabilities[:, index], drop_intermediate=True
        )
        parts.append(pd.DataFrame({"class": label, "recall": recall, "precision": precision}))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def one_against_rest(labels: np.ndarray, classes: list[str]) -> list[tuple[int, str]]:
    """The classes, with their indices, that some but not all of the labels (n,) are."""
    return [(index, label) for index, label in enumerate(classes) if 0 < (labels == index).sum() < len(labels)]


def by_class(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall, F1 and photos (..., classes) of confusion matrices (..., true, predicted); 0 for 0 / 0."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    photos, predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    return {
        "precision": right / np.maximum(predicted, 1),
        "recall": right / np.maximum(photos, 1),
        "f1": 2 * right / np.maximum(photos + predicted, 1),
        "photos": photos,
    }


def summary(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Accuracy, and means over the classes that occur, of confusion matrices (..., true, predicted)."""
    values = by_class(confusion)
    present = values["photos"] > 0
    accuracy = np.diagonal(confusion, axis1=-2, axis2=-1).sum(axis=-1) / confusion.sum(axis=(-2, -1))
    means = (("balanced_accuracy", "recall"), ("precision", "precision"), ("f1", "f1"))
    return {"accuracy": accuracy} | {
        mean: (values[name] * present).sum(axis=-1) / present.sum(axis=-1) for mean, name in means
    }


def draws(groups: int, seed: int) -> Iterator[np.ndarray]:
    """How often each group is drawn in each round of a bootstrap, some rounds at a time: (rounds, groups), int64."""
    rng, each = np.random.default_rng(seed), np.full(groups, 1 / groups)
    at_once = max(1, DRAWN_AT_ONCE // groups)
    for start in range(0, ROUNDS, at_once):
        yield rng.multinomial(groups, each, min(at_once, ROUNDS - start))


@functools.lru_cache(maxsize=4)
def few_draws(groups: int, seed: int) -> list[np.ndarray]:
    """As `draws`, kept."""
    return list(draws(groups, seed))


def intervals(
    labels: np.ndarray, predicted: np.ndarray, groups: np.ndarray, classes: int, seed: int
) -> dict[str, dict[str, float]]:
    """Cluster bootstrap: intervals at the level `CONFIDENCE` of the scores in `summary`.

    Whole groups are resampled, since near-duplicates are one observation (B. Efron, R. Tibshirani, "An introduction to
    the bootstrap", 1993; C. Field, A. Welsh, "Bootstrapping clustered data", 2007). Where nothing is wrong, or nothing
    right, that interval would have no width; then it ends at 1 - 3 / n, or 3 / n, by the rule of three (J. Hanley,
    A. Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA 1983), with the number of groups for n; of
    means over the classes, as if every class had as few as the smallest.

    Parameters
    ----------
    labels, predicted : ndarrays (n,), int
    groups : ndarray (n,)
        Equal for near-duplicates.
    """
    names, which = np.unique(groups, return_inverse=True)
    confusion = np.zeros((len(names), classes, classes))
    np.add.at(confusion, (which, labels, predicted), 1)
    flat = confusion.reshape(len(names), -1)
    drawn = (few_draws if len(names) <= FEW else draws)(len(names), seed)
    rounds = [summary((numbers @ flat).reshape(-1, classes, classes)) for numbers in drawn]
    samples = {name: np.concatenate([one[name] for one in rounds]) for name in rounds[0]}
    ends = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    found = {name: np.quantile(values, ends) for name, values in samples.items()}
    of_class = (confusion.sum(axis=2) > 0).sum(axis=0)
    balanced = (of_class > 0).sum() * of_class[of_class > 0].min()
    right = (labels == predicted).mean()
    for name, bounds in found.items():
        margin = min(1.0, 3 / (len(names) if name == "accuracy" else balanced))
        if right in (0, 1):
            bounds[:] = (1 - margin, 1) if right else (0, margin)
    return {name: {"low": float(low), "high": float(high)} for name, (low, high) in found.items()}


def score(
    labels: np.ndarray,
    probabilities: np.ndarray,
    predicted: np.ndarray,
    groups: np.ndarray,
    classes: list[str],
    seed: int,
) -> dict[str, Any]:
    """All scores of a classifier on one test set.

    Parameters
    ----------
    labels, predicted : ndarrays (n,), int
        Indices into classes.
    probabilities : ndarray (n, classes), float
        Rows add up to 1.
    groups : ndarray (n,)
        Equal for near-duplicates.

    Returns
    -------
    dict
        photos, each of `SCORES` (ROC AUC and average precision only where two classes occur), `interval` (low and high
        by score) and `per_class` (the rows of `report`, by class).
    """
    from sklearn import metrics

    counts = metrics.confusion_matrix(labels, predicted, labels=range(len(classes)))
    table = report(counts, labels, probabilities, classes)
    ranking = table.loc[table.photos > 0, ["roc_auc", "average_precision"]].mean().dropna()
    return {
        "photos": len(labels),
        "loss": float(metrics.log_loss(labels, probabilities, labels=range(len(classes)))),
        "calibration_error": calibration_error(reliability(labels, probabilities)),
        **{name: float(value) for name, value in summary(counts).items()},
        **ranking.to_dict(),
        "interval": intervals(labels, predicted, groups, len(classes), seed),
        "per_class": {
            row.pop("class"): {name: value for name, value in row.items() if not np.isnan(value)}
            for row in table.to_dict("records")
        },
    }


def report(counts: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, classes: list[str]) -> pd.DataFrame:
    """The classification report: a row a class, each class against the rest.

    Columns class, precision, recall, f1, photos, roc_auc, average_precision; the last two are
    missing where a class has all the photos or none.
    """
    from sklearn import metrics

    table = pd.DataFrame({"class": classes, **by_class(counts), "roc_auc": np.nan, "average_precision": np.nan})
    for index, _ in one_against_rest(labels, classes):
        ranked = labels == index, probabilities[:, index]
        table.loc[index, "roc_auc"] = metrics.roc_auc_score(*ranked)
        table.loc[index, "average_precision"] = metrics.average_precision_score(*ranked)
    return table


def scores_table(results: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """The scores of each test set, as `score` returns them: columns test_set, score, value, low, high.

    low and high are missing where a score has no interval.
    """
    rows = [
        {"test_set": name, "score": score, "value": result[score], **result["interval"].get(score, {})}
        for name, result in results.items()
        for score in SCORES
        if score in result
    ]
    return pd.DataFrame(rows, columns=["test_set", "score", "value", "low", "high"])


def class_table(results: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """The classification reports of all test sets: columns test_set, class, and those of `report`."""
    rows = [
        {"test_set": name, "class": label, **values}
        for name, result in results.items()
        for label, values in result["per_class"].items()
    ]
    return pd.DataFrame(
        rows, columns=["test_set", "class", "precision", "recall", "f1", "photos", "roc_auc", "average_precision"]
    )
