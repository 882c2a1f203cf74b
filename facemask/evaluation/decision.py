"""From probabilities to a class, in the pipeline and in the predictor."""

from decimal import ROUND_FLOOR, Decimal

import numpy as np

from facemask.core.files import DECIMALS


def decide(probabilities: np.ndarray, classes: list[str], label: str, threshold: float | None) -> np.ndarray:
    """The class of every row of probabilities (n, classes), as indices (n,).

    Without a threshold it is the likeliest. With one it is `label` wherever that has at least this
    probability, and the likeliest of the others elsewhere.
    """
    if threshold is None:
        return probabilities.argmax(axis=1)
    index = classes.index(label)
    others = np.where(np.arange(len(classes)) == index, -1.0, probabilities).argmax(axis=1)
    return np.where(probabilities[:, index] >= threshold, index, others)


def threshold_for(labels: np.ndarray, probabilities: np.ndarray, recall: float) -> float:
    """The largest threshold of `DECIMALS` places at which at least this share of the positives is found.

    Parameters
    ----------
    labels : ndarray (n,), bool
        At least one is true.
    probabilities : ndarray (n,), float
        Of being true.
    recall : float
        Above 0, up to 1.
    """
    found = np.sort(probabilities[labels])[::-1]
    least = Decimal(float(found[int(np.ceil(recall * len(found))) - 1]))
    return float(least.quantize(Decimal(10) ** -DECIMALS, ROUND_FLOOR))


def temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """By what the logits must be divided for the probabilities to mean what they say.

    It has the least cross-entropy on data that was not trained on (C. Guo et al., "On calibration of
    modern neural networks", ICML 2017). Where nothing is wrong there, the least would be at 0; so the
    targets are not 0 and 1, but what so many photos can support (after J. Platt, "Probabilistic
    outputs for support vector machines", 1999).

    Parameters
    ----------
    labels : ndarray (n,), int
    probabilities : ndarray (n, classes), float
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    photos, classes = probabilities.shape
    sure = (photos + 1) / (photos + 2)
    targets = np.full((photos, classes), (1 - sure) / (classes - 1))
    targets[np.arange(photos), labels] = sure
    logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))

    def loss(exponent: float) -> float:
        return -np.mean(np.sum(targets * log_softmax(logits / np.exp(exponent), axis=1), axis=1))

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))
