"""The decision rule, from probabilities to a class: threshold and temperature."""

import math
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction

import numpy as np

from facemask.core.files import DECIMALS

TEMPERATURE_DECIMALS = 4


def decide(probabilities: np.ndarray, classes: list[str], label: str, threshold: float | None) -> np.ndarray:
    """The class of every row of probabilities (n, classes), as indices (n,).

    Without a threshold it is the argmax. With one it is `label` where its probability is at least the threshold, else
    the argmax of the other classes.
    """
    if threshold is None:
        return probabilities.argmax(axis=1)
    index = classes.index(label)
    others = np.where(np.arange(len(classes)) == index, -1.0, probabilities).argmax(axis=1)
    return np.where(probabilities[:, index] >= threshold, index, others)


def threshold_for(labels: np.ndarray, probabilities: np.ndarray, recall: float) -> float:
    """The largest threshold of `DECIMALS` decimals with at least this recall.

    Parameters
    ----------
    labels : ndarray (n,), bool
        Whether a row is positive; at least one is.
    probabilities : ndarray (n,), float
        Of being positive.
    recall : float
        The fraction of positives at or above the threshold, 0 < recall <= 1.
    """
    positives = np.sort(probabilities[labels])[::-1]
    needed = math.ceil(Fraction(repr(float(recall))) * len(positives))  # 0.55 * 100 is more than 55
    return floor(positives[needed - 1])


def floor(score: float) -> float:
    """A score rounded down to `DECIMALS` decimals: a threshold that the score itself reaches."""
    return float(Decimal(float(score)).quantize(Decimal(10) ** -DECIMALS, ROUND_FLOOR))


def temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Temperature scaling (C. Guo et al., "On calibration of modern neural networks", ICML 2017).

    Returns the temperature, by which the logits are divided, with the least cross-entropy on held-out data. If all
    predictions there are right, it would tend to 0; so the targets are smoothed as in Platt scaling (J. Platt,
    "Probabilistic outputs for support vector machines", 1999).

    Parameters
    ----------
    labels : ndarray (n,), int
    probabilities : ndarray (n, classes), float
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    photos, classes = probabilities.shape
    positive = (photos + 1) / (photos + 2)
    targets = np.full((photos, classes), (1 - positive) / (classes - 1))
    targets[np.arange(photos), labels] = positive
    logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))

    def loss(exponent: float) -> float:
        return -np.mean(np.sum(targets * log_softmax(logits / np.exp(exponent), axis=1), axis=1))

    # Rounded: the last digits of the minimum differ between processors.
    return round(float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x)), TEMPERATURE_DECIMALS)
