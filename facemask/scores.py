"""What a classifier's probabilities are worth, for any number of classes."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn import metrics


def score(labels: np.ndarray, probabilities: np.ndarray, classes: list[str]) -> dict[str, Any]:
    """Loss, accuracy and, overall (mean over classes) and per class, what scikit-learn offers.

    Parameters
    ----------
    labels : ndarray (n,), int
        Indices into classes.
    probabilities : ndarray (n, classes), float
        Rows add up to 1.
    """
    predicted = probabilities.argmax(axis=1)
    table = report(labels, probabilities, classes)
    present = table.photos > 0
    names = ["precision", "recall", "f1", "roc_auc", "average_precision"]
    return {
        "photos": len(labels),
        "loss": float(metrics.log_loss(labels, probabilities, labels=range(len(classes)))),
        "accuracy": float(metrics.accuracy_score(labels, predicted)),
        "balanced_accuracy": float(table.recall[present].mean()),
        **table[names].mean().to_dict(),
        "per_class": {
            row.pop("class"): {name: value for name, value in row.items() if not np.isnan(value)}
            for row in table.to_dict("records")
        },
    }


def report(labels: np.ndarray, probabilities: np.ndarray, classes: list[str]) -> pd.DataFrame:
    """The classification report: a row a class, each class against the rest.

    Columns class, precision, recall, f1, photos, roc_auc, average_precision; the last two are
    missing where a class has all the photos or none.
    """
    indices = range(len(classes))
    precision, recall, f1, photos = metrics.precision_recall_fscore_support(
        labels, probabilities.argmax(axis=1), labels=indices, zero_division=0
    )
    table = pd.DataFrame({"class": classes, "precision": precision, "recall": recall, "f1": f1, "photos": photos})
    for name, measure in (("roc_auc", metrics.roc_auc_score), ("average_precision", metrics.average_precision_score)):
        table[name] = [
            measure(labels == index, probabilities[:, index]) if 0 < photos[index] < len(labels) else np.nan
            for index in indices
        ]
    return table
