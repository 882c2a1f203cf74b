"""Confident learning: which labels are probably wrong (C. Northcutt, L. Jiang, I. Chuang, JAIR 70, 2021)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from facemask.core.errors import UserError

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

FITTED_FEATURES = 10  # scikit-learn's C, times the number of standardised features
ROWS = 4096  # predicted at once
TOLERANCE = 0.01  # of the gradient; a smaller one takes five times as long, and finds as many errors


def out_of_fold(
    read: Callable[[np.ndarray], np.ndarray], labels: np.ndarray, groups: np.ndarray, folds: int, most: int, seed: int
) -> np.ndarray:
    """Probabilities of each face by a logistic regression that has seen no face of its group.

    Parameters
    ----------
    read : callable
        Takes the numbers of faces, ascending; returns a copy of their features, (faces, features) float64: of float32,
        other processors would make other sums.
    labels : ndarray (n,), int
        Class indices from 0.
    groups : ndarray (n,)
        Faces of one group are in one fold.
    most : int
        On so many faces, drawn at random, a regression is fitted at most.

    Returns
    -------
    ndarray (n, classes), float64

    Raises
    ------
    UserError
        If no class has as many faces as there are folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    if folds > (largest := np.bincount(labels).max()):
        raise UserError(f"audit.folds is {folds}, and no class has more than {largest} faces; choose fewer folds")
    probabilities, rng = np.zeros((len(labels), labels.max() + 1)), np.random.default_rng(seed)
    divided = StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(labels, labels, groups)
    for held_out in [held_out for _, held_out in divided]:  # all at once, so that what divides is not kept
        others = np.delete(np.arange(len(labels)), held_out)
        fitted = others if len(others) <= most else np.sort(rng.choice(others, most, replace=False))
        if len(known := np.unique(labels[fitted])) == 1:
            probabilities[held_out, known] = 1
            continue
        model = regression(read(fitted), labels[fitted])
        for start in range(0, len(held_out), ROWS):
            rows = held_out[start : start + ROWS]
            probabilities[np.ix_(rows, model.classes_)] = model.predict_proba(read(rows))
    return probabilities


def regression(features: np.ndarray, labels: np.ndarray) -> "Pipeline":
    """A logistic regression fitted on features (faces, features), which are standardised in place."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    capacity = FITTED_FEATURES / features.shape[1]
    model = make_pipeline(StandardScaler(copy=False), LogisticRegression(C=capacity, tol=TOLERANCE, max_iter=500))
    return model.fit(features, labels)


def suggested(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The class that each face probably has: another one than its label where the label is probably wrong.

    A class is possible from the mean probability on that the faces labelled so have; of the possible ones it is the
    one with the highest probability. If none is possible, the label stays.

    Parameters
    ----------
    probabilities : ndarray (n, classes)
        Out of fold.
    labels : ndarray (n,), int

    Returns
    -------
    ndarray (n,), int
    """
    classes = probabilities.shape[1]
    thresholds = np.array([probabilities[labels == index, index].mean() for index in range(classes)])
    possible = np.where(probabilities >= thresholds, probabilities, -1)
    return np.where(possible.max(axis=1) >= 0, possible.argmax(axis=1), labels)
